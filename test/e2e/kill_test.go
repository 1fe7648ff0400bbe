// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"winery/internal/httpapi/rpc"
	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/pgtest"
)

// lease is the shortest that can be configured.
const lease = 4 * time.Second

// A writer is killed while many clients add. Every object that was acknowledged
// before can be read afterwards.
func TestKilledWriterLosesNothingAcknowledged(t *testing.T) {
	o := fleettest.Options(t)
	o.ShardMaxSize, o.Lease = 1<<20, lease // several shards become full meanwhile
	f := fleettest.New(t, o)
	ctx := fleettest.Within(t)
	const kills, workers, acksBeforeKill = 4, 8, 150
	acked := map[[32]byte]bool{}
	for round := range kills {
		writer, err := f.StartWriter(ctx)
		if err != nil {
			t.Fatal(err)
		}
		alive, dead := context.WithCancel(ctx) // ends the clients' patience
		acks := make(chan [32]byte)
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for n := 0; ; n++ {
					content := fmt.Appendf(nil, "%d/%d/%d %01000d", round, w, n, n)
					id := sha256.Sum256(content)
					if _, _, err := f.Client.AddBatch(alive, []rpc.Object{{ID: id, Content: content}}); err != nil {
						return // the writer is gone
					}
					select {
					case acks <- id:
					case <-ctx.Done():
						return
					}
				}
			})
		}
		for range acksBeforeKill {
			select {
			case id := <-acks:
				acked[id] = true
			case <-ctx.Done():
				t.Fatalf("round %d: %d objects are acknowledged: %v", round, len(acked), ctx.Err())
			}
		}
		killed := make(chan error, 1)
		go func() {
			killed <- writer.Kill()
			dead()
		}()
		go func() { wg.Wait(); close(acks) }()
		for id := range acks {
			acked[id] = true
		}
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.StartWriter(ctx); err != nil {
		t.Fatal(err)
	}
	for id := range acked {
		content, err := f.Client.Get(ctx, id)
		if err != nil || sha256.Sum256(content) != id {
			t.Fatalf("acknowledged object %x: %d bytes, %v", id, len(content), err)
		}
	}
	// The last writer takes back what the others held.
	if err := harness.Until(ctx, func() (bool, error) {
		leases, err := f.Base.Leases(ctx)
		return len(leases) == 1, err
	}); err != nil {
		t.Fatal(err)
	}
	if minAcked := kills * acksBeforeKill; len(acked) < minAcked {
		t.Errorf("%d objects were acknowledged, want at least %d", len(acked), minAcked)
	}
	t.Logf("%d kills, %d acknowledged objects, all there", kills, len(acked))
}

// The packer and the cleaner are killed again and again as soon as they have
// locked a shard. In the end every shard is read-only and every object there.
func TestKilledPackerAndCleanerLoseNothing(t *testing.T) {
	const packerKills, cleanerKills = 4, 3
	eachPool(t, func(t *testing.T, o harness.Options) {
		src := goSource(t, "net")
		o.ShardMaxSize, o.Lease = src.Bytes/5, lease
		f := fleettest.New(t, o)
		ctx := fleettest.Within(t)
		if _, err := f.StartWriter(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := src.Store(ctx, f.Client, func(int) {}); err != nil {
			t.Fatal(err)
		}
		killWhen(ctx, t, o.DSN, f, harness.Packer, sharedbase.StatePacking, packerKills)
		start(t, f, harness.Packer)
		err := harness.Until(ctx, func() (bool, error) {
			left, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{
				States: []sharedbase.ShardState{sharedbase.StateFull, sharedbase.StatePacking},
			})
			return len(left) == 0, err
		})
		if err != nil {
			t.Fatal(err)
		}
		fleettest.RunToEnd(ctx, t, f, harness.Mapper)
		killWhen(ctx, t, o.DSN, f, harness.Cleaner, sharedbase.StateCleaning, cleanerKills)
		start(t, f, harness.Mapper)
		start(t, f, harness.Cleaner)
		if err := f.WaitReadOnly(ctx); err != nil {
			t.Fatal(err)
		}
		read, err := src.Compare(ctx, f.Client, nil, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		if read.Objects < 300 {
			t.Errorf("%d objects were read, too few to prove something", read.Objects)
		}
		t.Logf("%d kills, %d objects, all there", packerKills+cleanerKills, read.Objects)
	})
}

func start(t *testing.T, f *harness.Fleet, role string) {
	t.Helper()
	if _, err := f.Start(role); err != nil {
		t.Fatal(err)
	}
}

// killWhen kills a role several times, as soon as the database shows that it has locked a
// shard. However fast the role is, the shard stays in this state: the statement that ends
// it waits, and its connection is terminated.
func killWhen(ctx context.Context, t *testing.T, dsn string, f *harness.Fleet, role string, state sharedbase.ShardState, times int) {
	t.Helper()
	pgtest.Exec(t, dsn, fmt.Sprintf(`
		CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
		CREATE TRIGGER stay BEFORE UPDATE ON shards FOR EACH ROW WHEN (OLD.state = '%s' AND NEW.state <> OLD.state) EXECUTE FUNCTION stay()`, state))
	dead := map[uuid.UUID]bool{} // lockers
	for len(dead) < times {
		goOn := pgtest.Hold(t, dsn, "SELECT pg_advisory_xact_lock(1)")
		p, err := f.Start(role, "--stop-instead-of-waiting")
		if err != nil {
			t.Fatal(err)
		}
		if hasLocked(ctx, t, f, p, state, dead) {
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			pgtest.Exec(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_locks
				WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		}
		goOn()
	}
	pgtest.Exec(t, dsn, "DROP TRIGGER stay ON shards; DROP FUNCTION stay()")
}

// hasLocked waits until a shard in a state has a new locker, which it adds to dead. It returns
// false if the process found nothing to do: leases of dead processes have to expire.
func hasLocked(ctx context.Context, t *testing.T, f *harness.Fleet, p *harness.Process, state sharedbase.ShardState, dead map[uuid.UUID]bool) bool {
	t.Helper()
	for before := len(dead); len(dead) == before; {
		select {
		case <-p.Done():
			if err := p.Err(); err != nil {
				t.Fatal(err)
			}
			return false
		default:
		}
		shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{state}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shards {
			dead[s.Locker] = true
		}
	}
	return true
}
