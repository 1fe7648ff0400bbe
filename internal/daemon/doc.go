// SPDX-License-Identifier: GPL-3.0-or-later

// Package daemon is what every role shares: the command line, logging, signals,
// the service manager, waiting for the database and for a pool, and the one loop
// with backoff.
//
// # Exit status
//
//	0    done, or stopped by a signal as asked
//	1    failed
//	78   wrong usage or configuration; nothing was begun
//	130  exited at once by a repeated SIGINT
//	143  exited at once by a repeated SIGTERM
//
// Go's runtime ends a process that crashes with 2, or by SIGABRT or SIGSEGV.
// Every status but 0 and 78 is worth a restart.
//
// # Signals
//
// SIGTERM cancels the context: the current step is aborted and its shard is
// released. SIGINT ends Env.Finishing: the current step is completed, and no
// other begins. After SIGINT, another signal of either kind acts as SIGTERM.
// After SIGTERM, another signal of either kind ends the process at once, even
// if a call into a library or a device hangs; its shard stays locked until the
// lease ends. A wait is ended at once by both.
//
// SIGHUP is logged and ignored: nothing of the configuration is read again. A
// pipe on standard output or error whose reader is gone (SIGPIPE) ends no role;
// what would be written to it is lost.
//
// A command of wineryctl stops by the first SIGINT or SIGTERM, with status 1,
// and exits at once by the second ([UntilSignal]).
//
// # Output
//
// A write to standard output that fails, as on a full disk, is an error, and
// the exit status is 1 at least.
//
// # Waiting
//
// Where there is nothing to do, or a service is away, a role waits 1 s, then
// twice as long each time up to 60 s, a tenth more or less so that a fleet does
// not move in step. Work resets the wait, and so does the first of several
// failures. A notification from PostgreSQL that a shard came into a state from
// which the role takes shards ends an idle wait, at most once a second; the
// changes of that second make one step. It does not end the wait after an error:
// a failing step that releases its shard causes such a notification itself, and
// would follow its own echo at full speed.
//
// # Service manager
//
// Where NOTIFY_SOCKET is set, systemd is told READY once the role can work,
// STATUS in words, STOPPING, and WATCHDOG whenever the loop or the work in a
// step got on, so that a role that hangs is restarted and one that works on
// something long is not.
//
// # Stalls
//
// The same signs of progress are watched from inside, with a service manager or
// without: a role that gets on with nothing is logged, measured, and after
// winery.stall_limit its process ends, with status 1, even if a call into a
// library or a device hangs. Its lease runs out then, and another goes on with
// the shard. A role that waits for work, or after a failure, does not stall.
// Work that cannot report (Silent) says how long it may take, in proportion to
// how much there is to do; the limit begins after that time.
package daemon
