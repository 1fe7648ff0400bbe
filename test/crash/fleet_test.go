// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"crypto/sha256"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"winery/internal/ingest"
	"winery/internal/reader"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// outcome is how a fleet got over the loss of a process.
type outcome struct {
	mu    sync.Mutex
	by    []string      // what went on first, in this order
	moved time.Duration // until the lost process's shards were taken back; 0: it had none
	done  time.Duration // until nothing was left to do for the others
	after string        // what a process that had stood still did then

	reclaiming sync.Mutex // held during a call that takes shards back
}

func (o *outcome) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.by, what) {
		o.by = append(o.by, what)
	}
}

// held is how long the lost process had its shards, once they were taken back.
func (o *outcome) held() time.Duration {
	o.reclaiming.Lock() // what a call has taken back is recorded
	defer o.reclaiming.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.moved
}

// reclaim does in the background, to the end of the test, what every daemon does.
func (c *trial) reclaim(t *testing.T) {
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(roletest.Lease / 4)
		defer tick.Stop()
		for t.Context().Err() == nil {
			c.reclaimOnce(t)
			select {
			case <-tick.C:
			case <-t.Context().Done():
			}
		}
	})
	t.Cleanup(ended.Wait)
}

// reclaimOnce takes shards back: a call that goes well must end every lease that was
// seen before it and had expired.
func (c *trial) reclaimOnce(t *testing.T) {
	c.reclaiming.Lock()
	defer c.reclaiming.Unlock()
	before := c.leases(t)
	back, err := c.Base.ReclaimExpired(t.Context()) // which waits for a row in vain at times
	for _, r := range back {
		c.note("back to " + string(r.Shard.State))
		c.mu.Lock()
		c.moved = time.Since(c.since)
		c.mu.Unlock()
	}
	if err != nil {
		return
	}
	for locker, l := range c.leases(t) {
		if seen := before[locker]; seen.Expired && seen.Expires.Equal(l.Expires) {
			t.Errorf("the lease of %s expired at %v; a later call did not end it", l.Holder(), l.Expires)
		}
	}
}

// leases returns those that are seen; none at the end of the test.
func (c *trial) leases(t *testing.T) map[uuid.UUID]sharedbase.Lease {
	all, err := c.Base.Leases(t.Context())
	if err != nil && t.Context().Err() == nil {
		t.Error(err)
	}
	return all
}

const (
	// patience is how long nothing gets done: Ceph believes a dead client alive for half a minute.
	patience = 90 * time.Second
	// maxRounds is in how many rounds something gets done: more than the work there is.
	maxRounds = 100
)

// crew are the roles that continue the work of the killed process.
var crew = []string{"packer", "mapper", "cleaner", "importer"}

// goOn lets other processes work until there is nothing left to do: those of the
// crew, clients that repeat their adds, and no person.
func (c *trial) goOn(t *testing.T, crew []string, enough func(*testing.T, *trial) bool) {
	t.Helper()
	tick := time.NewTicker(roletest.Lease / 10)
	defer tick.Stop()
	rounds, last := 0, time.Now() // in which something got done
	for {
		repeat(t, c.Stage, c.wanted)
		busy, failed := false, error(nil)
		for _, role := range crew {
			worked, err := roles[role](c.Stage)(t.Context())
			if worked {
				c.note(role)
			}
			busy = busy || worked
			// That the process has an image is an error of the cleaner until that process ends.
			if role != "cleaner" || !errors.Is(err, pool.ErrInUse) {
				failed = errors.Join(failed, err)
			}
		}
		if !busy && failed == nil && enough(t, c) {
			if c.done == 0 {
				c.done = time.Since(c.since)
			}
			return
		}
		switch {
		case busy && rounds == maxRounds:
			t.Fatalf("after %d rounds there is still something left to do: %s, %v", rounds, state(t, c.Stage), failed)
		case busy:
			rounds, last = rounds+1, time.Now()
		case time.Since(last) > patience:
			t.Fatalf("nothing got done for %v, and there is something left to do: %s, %v", patience, state(t, c.Stage), failed)
		default:
			<-tick.C
		}
	}
}

func shards(t *testing.T, s *roletest.Stage) []sharedbase.Shard {
	t.Helper()
	all, err := s.Base.ListShards(t.Context(), sharedbase.ShardFilter{})
	expect.NoError(t, err)
	return all
}

// repeat adds again what is missing, as clients do that got no answer; and marks
// full what writers left, as they do with the next objects.
func repeat(t *testing.T, s *roletest.Stage, wanted []sharedbase.Object) {
	t.Helper()
	if s.Imported == "" && missing(t, s, wanted) {
		w := ingest.New(ingest.Options{Base: s.Base, Pools: s.Pools, Pool: s.Config.Name, Log: s.Log})
		w.Start()
		_, err := w.Add(t.Context(), wanted)
		expect.NoError(t, errors.Join(err, w.Close(t.Context())))
	}
	for _, n := range shards(t, s) {
		if !waits(t, s, n) {
			continue
		}
		c, err := s.Base.LockOneShard(t.Context(), sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.ClaimFilter{Name: n.Name})
		expect.NoError(t, err)
		if c != nil { // nil: a stopped process still locks the row, for some more seconds
			expect.NoError(t, c.SetState(t.Context(), sharedbase.StateFull))
		}
	}
}

func missing(t *testing.T, s *roletest.Stage, wanted []sharedbase.Object) bool {
	t.Helper()
	where, err := s.Base.Locate(t.Context(), ids(wanted))
	expect.NoError(t, err)
	return slices.ContainsFunc(where, func(l sharedbase.Location) bool { return l.ShardID == 0 })
}

// waits says whether a writer has released the shard, with objects in it.
func waits(t *testing.T, s *roletest.Stage, n sharedbase.Shard) bool {
	t.Helper()
	if n.State != sharedbase.StateStandby {
		return false
	}
	count, _, err := s.Base.TableSize(t.Context(), n.Name)
	expect.NoError(t, err)
	return count > 0
}

// settled says whether no role has work left.
func settled(t *testing.T, c *trial) bool {
	t.Helper()
	marked, err := c.Base.ShardsToErase(t.Context(), "")
	expect.NoError(t, err)
	return len(marked) == 0 && inImages(t, c) && !slices.ContainsFunc(shards(t, c.Stage), func(n sharedbase.Shard) bool {
		return n.State == sharedbase.StatePacked || n.State == sharedbase.StateCleaning
	})
}

// inImages says that every object is in an image.
func inImages(t *testing.T, c *trial) bool {
	t.Helper()
	return !missing(t, c.Stage, c.wanted) && !slices.ContainsFunc(shards(t, c.Stage), func(n sharedbase.Shard) bool {
		return !n.State.ImageAvailable() && n.State != sharedbase.StateStandby || waits(t, c.Stage, n)
	})
}

// wantReadable fails the test unless readers get every object.
func wantReadable(t *testing.T, s *roletest.Stage, objects []sharedbase.Object) {
	t.Helper()
	r := reader.NewReader(reader.Options{Base: s.Base, Pools: s.Pools, CacheSize: 10, Log: s.Log})
	defer r.Close()
	for _, o := range objects {
		content, err := r.Get(t.Context(), o.ID, nil)
		if err != nil || sha256.Sum256(content) != o.ID {
			t.Fatalf("object %x: %d bytes, %v", o.ID, len(content), err)
		}
	}
}

// wantWhole fails the test unless the wanted objects are there, and no others,
// and every image is what its record says.
func wantWhole(t *testing.T, s *roletest.Stage, is story) {
	t.Helper()
	wantReadable(t, s, is.wanted)
	where, err := s.Base.Locate(t.Context(), ids(is.deleted))
	expect.NoError(t, err)
	for i, l := range where {
		if l.ShardID != 0 {
			t.Errorf("deleted object %x is in shard %s", is.deleted[i].ID, l.Shard)
		}
	}
	leases, err := s.Base.Leases(t.Context())
	expect.NoError(t, err)
	if len(leases) > 0 {
		t.Errorf("leases are left: %v", leases)
	}
	var total int64
	for _, n := range shards(t, s) {
		if n.State == sharedbase.StateReadOnly {
			total += verify(t, s, n)
		}
	}
	if want := int64(len(is.wanted)); total != want {
		t.Errorf("the images have %d objects, want %d", total, want)
	}
}

// verify checks the image of a shard whose table was dropped, and returns how
// many objects it has.
func verify(t *testing.T, s *roletest.Stage, n sharedbase.Shard) int64 {
	t.Helper()
	if _, _, err := s.Base.TableSize(t.Context(), n.Name); !errors.Is(err, sharedbase.ErrNoTable) {
		t.Errorf("the table of shard %s: %v", n.Name, err)
	}
	drafts, err := filepath.Glob(filepath.Join(s.Config.BaseDirectory, s.Config.Name, n.Name+".*"))
	if err != nil || len(drafts) > 0 {
		t.Errorf("in addition to the image there is %v, %v", drafts, err)
	}
	r := s.Image(t, n.Name)
	found, err := r.Verify(t.Context(), nil)
	expect.NoError(t, err)
	record, recorded, err := s.Base.ImageRecord(t.Context(), n.ID)
	expect.NoError(t, err)
	switch {
	case !recorded:
		t.Errorf("shard %s has no record of its image", n.Name)
	case record.Fingerprint != r.Fingerprint(), record.Objects != found.Objects+found.Deleted:
		t.Errorf("image %s has %+v, its record says %+v", n.Name, found, record)
	}
	return found.Objects
}

func ids(objects []sharedbase.Object) []sharedbase.ObjID {
	ids := make([]sharedbase.ObjID, len(objects))
	for i, o := range objects {
		ids[i] = o.ID
	}
	return ids
}
