// SPDX-License-Identifier: GPL-3.0-or-later

// Package doctor checks what Winery needs of a host, a database and the pools. It
// changes nothing.
//
// Run makes all checks, side by side, for `wineryctl doctor`: a result for each, with a
// cure unless it is [OK]. Roles make some of the same checks before they are ready: a
// role is not ready where [Usable] fails for its own pool.
//
// A service that cannot be reached, or hangs, delays no check of another service. What
// needs it is [Unknown]; a check that waits for it ends after the patience of the
// [Subject], and leaves behind a goroutine where a call cannot be interrupted.
//
// [Failed] means that a role does not work, or that objects are in danger; [Warning]
// that work continues, and may stop or be less safe.
package doctor
