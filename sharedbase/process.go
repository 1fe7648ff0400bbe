// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// SeenWithin is how recent the last heartbeat of a process is that counts as
// running: heartbeats come every 15 s.
const SeenWithin = time.Minute

// maxStatus is the size of the longest status in bytes. Errors of several pools can
// be longer.
const maxStatus = 2000

// Process is a process of Go Winery, as its last heartbeat described it.
type Process struct {
	Role, Host string
	PID        int
	Version    string
	Lease      time.Duration // that its claims are made with
	Started    time.Time     // when it first reached the database
	LastSeen   time.Time     // by the database's clock, as Started
	Unseen     time.Duration // since LastSeen
	Status     string        // what it does, or why it failed
	Failing    bool          // its last attempt to work failed, or its current step makes no progress
	Boot       string        // id of the host's boot, "" if the process does not know
}

// Running reports whether the process has sent a heartbeat within SeenWithin.
func (p Process) Running() bool { return p.Unseen < SeenWithin }

// String is a line for people: "packer on ceph3 (pid 4711)".
func (p Process) String() string { return Lease{Role: p.Role, Host: p.Host, PID: p.PID}.Holder() }

// beginHeartbeat begins a transaction that does not wait: not for the disk, not for
// a standby, and not long for a lock. The heartbeat is repeated anyway.
const beginHeartbeat = "/* winery: BeginHeartbeat */ BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off; " +
	"SET LOCAL lock_timeout = '250ms'; SET LOCAL idle_in_transaction_session_timeout = '5s'"

// Heartbeat records that this process runs, its status, and whether it is failing. It also removes the rows
// of processes that died: those that were not seen for a day, and the predecessors
// of this process, which are those of its role and host that were last seen before
// it started.
func (b *SharedBase) Heartbeat(ctx context.Context, status string, failing bool) error {
	status = asText(status[:min(len(status), maxStatus)]) // it may be cut within a character
	return b.heartbeat(ctx, `/* winery: Heartbeat */
		WITH dead AS (SELECT p.id FROM winery_process p
			WHERE p.id <> @process AND (p.last_seen < clock_timestamp() - interval '1 day'
				OR p.role = @role AND p.host = @host AND p.last_seen < clock_timestamp() - @seen::interval
					AND p.last_seen < coalesce((SELECT started FROM winery_process WHERE id = @process), clock_timestamp()))
			FOR UPDATE SKIP LOCKED),
		removed AS (DELETE FROM winery_process p USING dead WHERE p.id = dead.id)
		INSERT INTO winery_process AS own (id, role, host, pid, version, lease, status, failing, boot)
			VALUES (@process, @role, @host, @pid, @version, @lease, @status, @failing, @boot)
		ON CONFLICT (id) DO UPDATE SET last_seen = excluded.last_seen, status = excluded.status, failing = excluded.failing`,
		pgx.NamedArgs{"process": b.process, "seen": SeenWithin, "status": status, "failing": failing,
			"role": b.holder.Role, "host": b.holder.Host, "pid": b.holder.PID, "version": b.holder.Version, "lease": b.lease, "boot": bootID()})
}

// EndHeartbeats removes the record of this process, which ends as asked.
func (b *SharedBase) EndHeartbeats(ctx context.Context) error {
	return b.heartbeat(ctx, "/* winery: EndHeartbeats */ DELETE FROM winery_process WHERE id = @process",
		pgx.NamedArgs{"process": b.process})
}

func (b *SharedBase) heartbeat(ctx context.Context, statement string, args pgx.NamedArgs) error {
	return b.withShortTimeout(ctx, "recording that this process runs", func(ctx context.Context) error {
		return transaction(ctx, b.conns.rest, beginHeartbeat, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, statement, args)
			return err
		})
	})
}

// Processes lists the processes that are recorded, by role and host. Some of them
// may have died: see [Process.Running].
func (b *SharedBase) Processes(ctx context.Context) ([]Process, error) {
	all, err := list(ctx, b, b.conns.rest, "listing the processes", pgx.RowToStructByPos[Process], `/* winery: Processes */
		SELECT role, host, pid, version, lease, started, last_seen, greatest(interval '0', clock_timestamp() - last_seen), status, failing, boot
		FROM winery_process ORDER BY role, host, started`)
	return all, ignoreNotAttached(err)
}

// bootID returns the kernel's random id of the current boot, "" if there is none.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
