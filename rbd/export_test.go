// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import "time"

// UseKernelAt makes the pool see another /sys, and bounds its rbd commands.
func (p *Pool) UseKernelAt(sys string, limit time.Duration) {
	p.kernel.sys, p.kernel.limit = sys, limit
}
