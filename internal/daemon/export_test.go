// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

type (
	LoopOptions = loopOptions
	PanicError  = panicError
)

var (
	Loop = loop
	Wake = wakeOn
)
