// SPDX-License-Identifier: GPL-3.0-or-later

package packer

import "time"

// SetClock replaces the clock by which a try is timed and repeated.
func (p *Packer) SetClock(now func() time.Time) { p.History.now = now }
