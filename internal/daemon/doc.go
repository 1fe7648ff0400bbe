// SPDX-License-Identifier: GPL-3.0-or-later

// Package daemon is what every role shares: the command line, logging, signals,
// the service manager, waiting for the database and for a pool, and the one loop
// with backoff.
//
// # Exit status
//
//	0    done, or stopped by a signal as asked
//	1    failed; of `wineryctl status` and `doctor`, also: there are problems
//	2    crashed; of these two, also: cannot tell, because a service did not answer
//	78   wrong usage or configuration; nothing was begun
//	130  exited at once by a repeated SIGINT
//	143  exited at once by a repeated SIGTERM
//
// Go's runtime ends a process that crashes with 2, or by SIGABRT or SIGSEGV: a
// command that crashed cannot tell, either. Every status of a role but 0
// and 78 is worth a restart.
//
// # Signals
//
// SIGTERM cancels the context: the current step is aborted and its shard is
// released. SIGINT ends Env.Finishing: the current step is completed, and no
// other begins. After SIGINT, another signal of either kind acts as SIGTERM.
// After SIGTERM, another signal of either kind ends the process at once, even
// if a call into a library or a device hangs; its shard stays locked until the
// lease ends. A wait is ended at once by both. A log that blocks, because the reader
// of standard error hangs, keeps no signal from acting: it delays the end of the
// process, by a further signal or by a stall, by 5 s at most.
//
// SIGHUP reads the log level of --log-level-file again, and what the role registered
// with Env.OnReload: the writer its access file and TLS certificates. The
// configuration is not read again. Other signals act meanwhile. A closed pipe on
// standard output or error (SIGPIPE) does not end a role; its output is lost.
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
// Without work, or while a service is unavailable, a role waits 1 s, then twice
// as long each time up to 60 s, with a jitter of a tenth so that the processes of
// a fleet do not retry at the same moment. Work resets the wait, and so does the
// first of several failures. A notification from PostgreSQL that a shard is in a
// state from which the role takes shards ends an idle wait, at most once a
// second; all changes within that second cause one step. A notification does not
// end the wait after an error: a failing step that releases its shard causes such
// a notification itself, and would otherwise retry without pause. It does end the wait of
// a step that only reports work that failed before and is not due ([Postponed]).
//
// # Service manager
//
// Where NOTIFY_SOCKET is set, the role sends systemd READY once it can work; STATUS
// as text: the current step, or what the role waits for and since when; STOPPING; and
// WATCHDOG whenever the loop or the current step made progress, so that systemd
// restarts a role that hangs, but not a role in a long step.
//
// Where standard error leads to systemd's journal, each log record goes there with
// its attributes as fields (package journal). The role keeps within the memory, the
// threads and the files that its unit allows (package limits).
//
// # Heartbeats
//
// From the moment that it has opened its database, a role records there every 15 s
// that it runs, with the STATUS that it sends systemd: the table winery_process,
// which `wineryctl status` and `hosts list` read. An idle role does so, too. The
// record is removed when the role ends as asked; one of a role that failed says why,
// and stays until the next process of the role on that host removes it, or for a day.
// No work waits for a heartbeat or depends on one: docs/adr/0011.
//
// # Stalls
//
// The process also monitors its progress itself, with a service manager or
// without: a stalled role is logged and measured, and after winery.stall_limit
// its process exits with status 1, even if a call into a library or a device
// hangs. Its lease then expires, and another process continues with the shard. A
// role that waits for work, or after a failure, is not stalled. A task that cannot
// report its progress declares how long it may take, in proportion to its size;
// the limit begins after that time.
//
// # Metrics and health
//
// A role serves its metrics and its health (package telemetry) from before it opens
// the database until it has ended: at the address of --telemetry-listen, by default
// a loopback port of the role. A default address that is in use is replaced by
// another port; any other address that is in use ends the process with status 1. A
// process with --stop-instead-of-waiting serves nothing by default.
package daemon
