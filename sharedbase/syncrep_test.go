// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// alterDatabase changes a setting of the sessions that begin from now on.
func alterDatabase(t testing.TB, conn *pgx.Conn, setting string) {
	t.Helper()
	exec(t, conn, fmt.Sprintf("DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s', current_database()); END $$", setting))
}

// The server's warning of a commit that is not replicated comes whatever client_min_messages the database has: through
// a pooler, of transactions of several statements.
func TestUnreplicatedWithoutMessages(t *testing.T) {
	r := newReplicated(t)
	ctx := t.Context()
	alterDatabase(t, r.conn, "client_min_messages = error")
	direct, pooled := open(t, r.primary.DSN), open(t, pgtest.Bouncer(t, r.primary.DSN))
	c := must(direct.CreateShard(ctx, "pool"))(t)
	must(direct.Add(ctx, c, objects("deleted")))(t)
	r.standby.Signal(syscall.SIGSTOP)
	for what, call := range map[string]func() error{
		"Add":                     func() error { _, err := direct.Add(ctx, c, objects("new")); return err },
		"Delete through a pooler": func() error { return pooled.Delete(ctx, object("deleted").ID) },
	} {
		calling := background(call)
		r.waits(t, 1)
		exec(t, r.conn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		if err := <-calling; !errors.Is(err, sharedbase.ErrUnavailable) {
			t.Errorf("%s: error %v, want ErrUnavailable", what, err)
		}
	}
	r.standby.Signal(syscall.SIGCONT)
}

// With a synchronous standby, settings are found by which a commit does not wait for it, or PostgreSQL does not report that it did not wait.
func TestUnsafeReplication(t *testing.T) {
	r := newReplicated(t)
	single := pgtest.New(t)
	for _, conn := range []*pgx.Conn{r.conn, connect(t, single)} {
		alterDatabase(t, conn, "client_min_messages = error")
		alterDatabase(t, conn, "synchronous_commit = local")
	}
	for dsn, want := range map[string]string{
		r.primary.DSN:                    "synchronous_commit=local",
		pgtest.Bouncer(t, r.primary.DSN): "client_min_messages=error synchronous_commit=local",
		pgtest.Bouncer(t, single):        "",
	} {
		var found []string
		for _, s := range must(open(t, dsn).UnsafeSettings(t.Context()))(t) {
			if s.Name != "fsync" && s.Name != "full_page_writes" { // of the server of the tests
				found = append(found, s.Name+"="+s.Value)
			}
			if s.Consequence == "" {
				t.Errorf("%s has no consequence", s.Name)
			}
		}
		if got := strings.Join(found, " "); got != want {
			t.Errorf("found %q, want %q", got, want)
		}
	}
}

// A commit that is cancelled while it waits for the standby stays on the
// primary, and the server calls it a success: no call says so.
func TestUnreplicatedIsUnavailable(t *testing.T) {
	r := newReplicated(t)
	b, ctx := r.base, t.Context()
	noKeys := func() iter.Seq2[sharedbase.ObjID, error] { return func(func(sharedbase.ObjID, error) bool) {} }
	writing := must(b.LockWritingShard(ctx, "pool"))(t)
	filling := must(b.LockWritingShard(ctx, "pool"))(t)
	releasing := must(b.LockWritingShard(ctx, "pool"))(t)
	released := must(b.ShardByID(ctx, must(b.LockWritingShard(ctx, "pool"))(t).ID()))(t)
	must(b.Add(ctx, writing, objects("deleted")))(t)
	packing := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	recording := must(b.ClaimImage(ctx, shardIn(t, b, sharedbase.StatePacked).Name))(t)
	renewing := must(b.ClaimImage(ctx, shardIn(t, b, sharedbase.StateReadOnly).Name))(t)
	unused := must(b.ClaimImage(ctx, shardIn(t, b, sharedbase.StatePacked).Name))(t)
	dropping := claim(t, b, shardIn(t, b, sharedbase.StatePacked), sharedbase.StateCleaning)
	mapped, quarantined := shardIn(t, b, sharedbase.StatePacked), shardIn(t, b, sharedbase.StatePacked)
	claimed := shardIn(t, b, sharedbase.StatePacked)
	moving := must(b.ClaimImage(ctx, shardIn(t, b, sharedbase.StateReadOnly).Name))(t)
	erasing := must(b.ClaimImage(ctx, shardIn(t, b, sharedbase.StatePacked, object("erased")).Name))(t)
	if err := errors.Join(b.Quarantine(ctx, quarantined.ID, "reason"), b.Delete(ctx, object("erased").ID)); err != nil {
		t.Fatal(err)
	}
	shardIn(t, b, sharedbase.StateStandby)
	expiring := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	exec(t, r.conn, "UPDATE winery_lease SET expires = now() - interval '1 second' WHERE shard = $1", expiring.ID())

	calls := map[string]func() error{
		"Add":            func() error { _, err := b.Add(ctx, writing, objects("new")); return err },
		"Delete":         func() error { return b.Delete(ctx, object("deleted").ID) },
		"Delete nothing": func() error { return b.Delete(ctx, object("absent").ID) },
		"WaitDurable":    func() error { return b.WaitDurable(ctx) },
		"LockOneShard": func() error {
			_, err := b.LockOneShard(ctx, sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.ClaimFilter{})
			return err
		},
		"CreateShard":       func() error { _, err := b.CreateShard(ctx, "pool"); return err },
		"SetState":          func() error { return filling.SetState(ctx, sharedbase.StateFull) },
		"Release":           func() error { return releasing.Release(ctx) },
		"ReleaseShard":      func() error { return b.ReleaseShard(ctx, released) },
		"Packed":            func() error { return packing.Packed(ctx, sharedbase.ImageRecord{}) },
		"RecordImage":       func() error { return recording.RecordImage(ctx, sharedbase.ImageRecord{}) },
		"RenewRecord":       func() error { return renewing.RenewRecord(ctx, sharedbase.ImageRecord{}) },
		"DropTable":         func() error { return dropping.DropTable(ctx) },
		"RecordShardMapped": func() error { _, err := b.RecordShardMapped(ctx, "host", mapped.Pool, mapped.Name); return err },
		"MoveShard":         func() error { return moving.MoveShard(ctx, "other", nil) },
		"ClaimImage":        func() error { _, err := b.ClaimImage(ctx, claimed.Name); return err },
		"Release an image":  func() error { return unused.Release(ctx) },
		"ImportShard": func() error {
			_, err := b.ImportShard(ctx, "imported", "pool", sharedbase.ImageRecord{}, noKeys())
			return err
		},
		"RecordErased":   func() error { _, err := erasing.RecordErased(ctx, ids(object("erased"))); return err },
		"Quarantine":     func() error { return b.Quarantine(ctx, mapped.ID, "reason") },
		"Unquarantine":   func() error { return b.Unquarantine(ctx, quarantined.Name) },
		"ReclaimExpired": func() error { _, err := b.ReclaimExpired(ctx); return err },
	}
	r.standby.Signal(syscall.SIGSTOP)
	cancelling, stop := context.WithCancel(ctx)
	defer stop()
	cancelled := background(func() error {
		type wait struct {
			PID   int32
			Since time.Time
		}
		seen := map[wait]bool{} // a second cancellation of a wait could meet the next statement
		for cancelling.Err() == nil {
			rows, err := r.conn.Query(ctx, "SELECT pid, query_start FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			if err != nil {
				return err
			}
			waits, err := pgx.CollectRows(rows, pgx.RowToStructByPos[wait])
			if err != nil {
				return err
			}
			for _, w := range waits {
				if seen[w] {
					continue
				}
				seen[w] = true
				if _, err := r.conn.Exec(ctx, "SELECT pg_cancel_backend($1)", w.PID); err != nil {
					return err
				}
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	for name, call := range calls {
		began := time.Now()
		if err := call(); !errors.Is(err, sharedbase.ErrUnavailable) || !strings.Contains(err.Error(), "committed on the primary") {
			t.Errorf("%s: error %v, want ErrUnavailable that tells of the commit", name, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v: what is committed is not tried again", name, took)
		}
	}
	stop()
	if err := <-cancelled; err != nil {
		t.Error(err)
	}
	r.standby.Signal(syscall.SIGCONT)
	present(t, b, writing.Name(), object("new")) // and it is there: adding again is safe
	absent(t, b, object("deleted"))
}
