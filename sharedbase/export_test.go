// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import "time"

// SetLockWait sets how long Add and Delete wait for a lock, before b is used.
func (b *SharedBase) SetLockWait(d time.Duration) { b.lockWait = d }

// SetShortTimeout sets how long an operation that touches a few rows may last, while none is in flight.
func (b *SharedBase) SetShortTimeout(d time.Duration) { b.short = d }
