// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
)

// One process has the claim to an image at a time, until it releases it or its
// lease runs out.
func TestImageClaim(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StateReadOnly)
	c := must(b.ClaimImage(ctx, s.Name))(t)
	if c.Name() != s.Name || c.ID() != s.ID || c.Pool() != "pool" {
		t.Errorf("claimed %s, %d, %s", c.Name(), c.ID(), c.Pool())
	}
	if err := c.Verify(ctx); err != nil {
		t.Error(err)
	}
	_, again := b.ClaimImage(ctx, s.Name)
	repair := b.WithImageForRepair(ctx, s.Name, func(context.Context, *sharedbase.ImageClaim) error { return nil })
	for _, err := range []error{again, repair} {
		if !errors.Is(err, sharedbase.ErrImageClaimed) || !strings.Contains(err.Error(), "winery test on ") {
			t.Errorf("claimed twice: %v", err)
		}
	}
	if l := must(b.ImageLeases(ctx))(t); len(l) != 1 || l[s.ID].Role != "winery test" || l[s.ID].PID == 0 {
		t.Errorf("leases: %+v", l)
	}

	exec(t, conn, "UPDATE winery_image_lease SET expires = clock_timestamp()")
	if l := must(b.ImageLeases(ctx))(t); len(l) != 0 {
		t.Errorf("leases that ran out are listed: %+v", l)
	}
	wantLost := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, sharedbase.ErrLeaseLost) {
			t.Errorf("%s without a lease: %v", what, err)
		}
	}
	wantLost("Verify", c.Verify(ctx))
	next := must(b.ClaimImage(ctx, s.Name))(t)
	wantLost("Verify", c.Verify(ctx))
	wantLost("MoveShard", c.MoveShard(ctx, "other", nil))
	_, err := c.RecordErased(ctx, nil)
	wantLost("RecordErased", err)
	_, err = c.RemoveAbsent(ctx, nil)
	wantLost("RemoveAbsent", err)
	wantLost("RecordImage", c.RecordImage(ctx, sharedbase.ImageRecord{}))
	wantLost("RenewRecord", c.RenewRecord(ctx, sharedbase.ImageRecord{}))
	if err := errors.Join(c.Release(ctx), next.Verify(ctx)); err != nil {
		t.Errorf("releasing a claim that was lost: %v", err)
	}
	if err := errors.Join(next.Release(ctx), next.Release(ctx)); err != nil {
		t.Error(err)
	}
	must(b.ClaimImage(ctx, s.Name))(t)
}

// The record is renewed of a readonly shard's image alone: the image of any other is made
// again from its table.
func TestRenewRecord(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	want := sharedbase.ImageRecord{Objects: 7, Bytes: 70, Fingerprint: [32]byte{1}}
	for _, state := range []sharedbase.ShardState{sharedbase.StatePacked, sharedbase.StateReadOnly} {
		s := shardIn(t, b, state)
		before, _, err := b.ImageRecord(ctx, s.ID)
		expect.NoError(t, err)
		c := must(b.ClaimImage(ctx, s.Name))(t)
		err = c.RenewRecord(ctx, want)
		got, _, failure := b.ImageRecord(ctx, s.ID)
		expect.NoError(t, failure)
		if state == sharedbase.StatePacked {
			wantState(t, err, state)
			if got != before {
				t.Errorf("recorded %+v", got)
			}
			continue
		}
		expect.NoError(t, err)
		if got != want {
			t.Errorf("recorded %+v, want %+v", got, want)
		}
	}
}

// Objects that the image does not have are removed from the index only where a readonly shard
// has them present: then they can be added again.
func TestRemoveAbsent(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	absent, stays, deleted, elsewhere := object("absent"), object("stays"), object("deleted"), object("elsewhere")
	shardIn(t, b, sharedbase.StateReadOnly, elsewhere)
	s := shardIn(t, b, sharedbase.StateReadOnly, absent, stays, deleted)
	expect.NoError(t, b.Delete(ctx, deleted.ID))
	c := must(b.ClaimImage(ctx, s.Name))(t)
	ids := []sharedbase.ObjID{absent.ID, deleted.ID, elsewhere.ID}
	for _, want := range []int64{1, 0} {
		if got := must(c.RemoveAbsent(ctx, ids))(t); got != want {
			t.Errorf("removed %d objects, want %d", got, want)
		}
	}
	at := must(b.Locate(ctx, []sharedbase.ObjID{absent.ID, stays.ID, elsewhere.ID}))(t)
	if at[0].ShardID != 0 || at[1].ShardID != s.ID || at[2].ShardID == 0 {
		t.Errorf("the objects are at %+v", at)
	}
	if marked := must(b.DeletedObjects(ctx, s.ID, 10))(t); len(marked) != 1 || marked[0] != deleted.ID {
		t.Errorf("marked deleted: %x", marked)
	}
	writing := must(b.CreateShard(ctx, "pool"))(t)
	if added := must(b.Add(ctx, writing, []sharedbase.Object{absent}))(t); added.Objects != 1 {
		t.Errorf("added again: %+v", added)
	}

	packed := shardIn(t, b, sharedbase.StatePacked, object("in the table"))
	_, err := must(b.ClaimImage(ctx, packed.Name))(t).RemoveAbsent(ctx, []sharedbase.ObjID{object("in the table").ID})
	wantState(t, err, sharedbase.StatePacked)
	if n := must(b.CountObjects(ctx, packed.Name))(t); n != 1 {
		t.Errorf("the index has %d objects of the packed shard", n)
	}
}

// The hosts that mapped an image are forgotten under the claims to image and shard alone.
func TestForgetMappedHosts(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StatePacked)
	must(b.RecordShardMapped(ctx, "host", s.Pool, s.Name))(t)
	image := must(b.ClaimImage(ctx, s.Name))(t)
	lost := claim(t, b, s, sharedbase.StateCleaning)
	expect.NoError(t, b.ReleaseShard(ctx, must(b.ShardByID(ctx, s.ID))(t)))
	wantMapped := func(n int) {
		t.Helper()
		if hosts := must(b.ShardByID(ctx, s.ID))(t).MappedOn; len(hosts) != n {
			t.Errorf("mapped on %v, want %d", hosts, n)
		}
	}
	wantState(t, image.ForgetMappedHosts(ctx, lost), sharedbase.StatePacked)
	wantMapped(1)
	c := claim(t, b, s, sharedbase.StateCleaning)
	exec(t, conn, "UPDATE winery_image_lease SET expires = clock_timestamp()")
	if err := image.ForgetMappedHosts(ctx, c); !errors.Is(err, sharedbase.ErrLeaseLost) {
		t.Error(err)
	}
	wantMapped(1)
	image = must(b.ClaimImage(ctx, s.Name))(t)
	expect.NoError(t, image.ForgetMappedHosts(ctx, c))
	wantMapped(0)
}

// Of many that claim at the same moment, one does.
func TestImageClaimAtOnce(t *testing.T) {
	b, _ := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked)
	var claims atomic.Int32
	done := make(chan struct{})
	for range 8 {
		go func() {
			_, err := b.ClaimImage(context.Background(), s.Name)
			if err == nil {
				claims.Add(1)
			} else if !errors.Is(err, sharedbase.ErrImageClaimed) {
				t.Error(err)
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	if n := claims.Load(); n != 1 {
		t.Errorf("%d have the claim", n)
	}
}

func TestImageClaimNeedsAnImage(t *testing.T) {
	b, _ := newBase(t)
	for _, state := range []sharedbase.ShardState{sharedbase.StateStandby, sharedbase.StateFull} {
		_, err := b.ClaimImage(t.Context(), shardIn(t, b, state).Name)
		wantState(t, err, state)
	}
	if _, err := b.ClaimImage(t.Context(), "nothing"); !errors.Is(err, sharedbase.ErrNotFound) {
		t.Errorf("of no shard: %v", err)
	}
}

// The lease is renewed; once it is lost, the context of the claim ends.
func TestImageLeaseIsRenewed(t *testing.T) {
	b, conn := shortLease(t)
	s := shardIn(t, b, sharedbase.StatePacked)
	err := b.WithImage(t.Context(), s.Name, func(ctx context.Context, c *sharedbase.ImageClaim) error {
		first := must(b.ImageLeases(ctx))(t)[s.ID].Expires
		expect.Eventually(t, "the claim to be renewed", func() bool { return must(b.ImageLeases(ctx))(t)[s.ID].Expires.Sub(first) > 0 })
		exec(t, conn, "DELETE FROM winery_image_lease")
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if !errors.Is(err, sharedbase.ErrLeaseLost) {
		t.Error(err)
	}
}
