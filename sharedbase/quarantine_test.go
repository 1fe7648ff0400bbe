// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"winery/sharedbase"
)

// No process can claim a quarantined shard, or erase in it, until it is
// unquarantined.
func TestQuarantined(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StatePacked, object("content"))
	for _, reason := range []string{"first", "the image is damaged"} {
		if err := b.Quarantine(ctx, s.ID, reason); err != nil {
			t.Fatal(err)
		}
	}
	quarantined := must(b.QuarantinedShards(ctx))(t)
	if len(quarantined) != 1 || quarantined[0].Shard.Name != s.Name || quarantined[0].Reason != "the image is damaged" || quarantined[0].Role != "winery test" || quarantined[0].At.IsZero() {
		t.Errorf("quarantined: %+v", quarantined)
	}
	lock := func(f sharedbase.ClaimFilter) *sharedbase.Claim {
		return must(b.LockOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning, f))(t)
	}
	if c := lock(sharedbase.ClaimFilter{}); c != nil {
		t.Error("a quarantined shard was claimed")
	}
	if err := b.Delete(ctx, object("content").ID); err != nil {
		t.Fatal(err)
	}
	if toErase(t, b, s.ID) {
		t.Error("objects are to be erased in a quarantined shard")
	}
	c := lock(sharedbase.ClaimFilter{IncludeQuarantined: true})
	if c == nil {
		t.Fatal("a quarantined shard cannot be claimed for repair")
	}
	if err := c.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Unquarantine(ctx, s.Name); err != nil {
		t.Fatal(err)
	}
	if err := b.Unquarantine(ctx, s.Name); !errors.Is(err, sharedbase.ErrNotFound) {
		t.Errorf("unquarantined again: %v", err)
	}
	if !toErase(t, b, s.ID) {
		t.Error("nothing is to be erased in an unquarantined shard")
	}
	if lock(sharedbase.ClaimFilter{}) == nil {
		t.Error("an unquarantined shard cannot be claimed")
	}
}

// TestTextsOfAnyBytes: a quarantine and a deletion do not fail because of what an error or
// a client sent, which PostgreSQL cannot store as text.
func TestTextsOfAnyBytes(t *testing.T) {
	b, _ := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked, object("content"))
	const dirty, clean = "bad \xff\x00bytes", "bad \ufffdbytes"
	if err := b.Quarantine(t.Context(), s.ID, dirty); err != nil {
		t.Fatal(err)
	}
	if got := must(b.QuarantinedShards(t.Context()))(t)[0].Reason; got != clean {
		t.Errorf("the reason is %q", got)
	}
	ctx := sharedbase.WithRequester(t.Context(), sharedbase.Requester{Client: dirty, Address: dirty, RequestID: dirty, TraceID: dirty})
	if err := b.Delete(ctx, object("content").ID); err != nil {
		t.Fatal(err)
	}
	err := b.Deletions(t.Context(), time.Time{}, nil, func(d sharedbase.Deletion) error {
		if d.Requester != (sharedbase.Requester{Client: clean, Address: clean, RequestID: clean, TraceID: clean}) {
			t.Errorf("recorded %+q", d.Requester)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestQuarantineIn: damage that was found in a pool says nothing of a shard that is in
// another by now.
func TestQuarantineIn(t *testing.T) {
	b, _ := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked)
	if err := b.QuarantineIn(t.Context(), s.ID, "before", "damaged"); !errors.Is(err, sharedbase.ErrMoved) {
		t.Errorf("error %v", err)
	}
	if all := must(b.QuarantinedShards(t.Context()))(t); len(all) != 0 {
		t.Errorf("quarantined %v", all)
	}
	if err := b.QuarantineIn(t.Context(), s.ID, s.Pool, "damaged"); err != nil {
		t.Fatal(err)
	}
	if all := must(b.QuarantinedShards(t.Context()))(t); len(all) != 1 || all[0].Reason != "damaged" {
		t.Errorf("quarantined %v", all)
	}
}

// act is something that must not happen to a quarantined shard.
type act struct {
	name string
	// prepare makes a shard and returns its number, what is to be tried, and what
	// proves that it did not happen.
	prepare func(t *testing.T, b *sharedbase.SharedBase) (shard int64, try func() error, unchanged func() bool)
}

// acts are those of claims that were made before the shard was quarantined.
var acts = []act{
	{"drop table", func(t *testing.T, b *sharedbase.SharedBase) (int64, func() error, func() bool) {
		s := shardIn(t, b, sharedbase.StatePacked, object("content"))
		c := claim(t, b, s, sharedbase.StateCleaning)
		return s.ID, func() error { return c.DropTable(t.Context()) },
			func() bool { n, _, err := b.TableSize(t.Context(), s.Name); return n == 1 && err == nil }
	}},
	{"record as packed", func(t *testing.T, b *sharedbase.SharedBase) (int64, func() error, func() bool) {
		s := shardIn(t, b, sharedbase.StateFull, object("content"))
		c := claim(t, b, s, sharedbase.StatePacking)
		return s.ID, func() error { return c.Packed(t.Context(), sharedbase.ImageRecord{}) },
			func() bool { return must(b.ShardByID(t.Context(), s.ID))(t).State == sharedbase.StatePacking }
	}},
	{"claim image", func(t *testing.T, b *sharedbase.SharedBase) (int64, func() error, func() bool) {
		s := shardIn(t, b, sharedbase.StatePacked)
		return s.ID, func() error { _, err := b.ClaimImage(t.Context(), s.Name); return err },
			func() bool { return len(must(b.ImageLeases(t.Context()))(t)) == 0 }
	}},
	{"record as erased", func(t *testing.T, b *sharedbase.SharedBase) (int64, func() error, func() bool) {
		s := shardIn(t, b, sharedbase.StatePacked, object("content"))
		if err := b.Delete(t.Context(), object("content").ID); err != nil {
			t.Fatal(err)
		}
		c := must(b.ClaimImage(t.Context(), s.Name))(t)
		return s.ID, func() error { _, err := c.RecordErased(t.Context(), ids(object("content"))); return err },
			func() bool { return len(deletedIn(t, b, s.ID)) == 1 }
	}},
	{"move shard", func(t *testing.T, b *sharedbase.SharedBase) (int64, func() error, func() bool) {
		s := shardIn(t, b, sharedbase.StateReadOnly)
		c := must(b.ClaimImage(t.Context(), s.Name))(t)
		return s.ID, func() error { return c.MoveShard(t.Context(), "other", nil) },
			func() bool { return must(b.ShardByID(t.Context(), s.ID))(t).Pool == "pool" }
	}},
	{"record image", func(t *testing.T, b *sharedbase.SharedBase) (int64, func() error, func() bool) {
		s := shardIn(t, b, sharedbase.StatePacked)
		c := must(b.ClaimImage(t.Context(), s.Name))(t)
		return s.ID, func() error { return c.RecordImage(t.Context(), sharedbase.ImageRecord{Objects: 77}) },
			func() bool { r, _, err := b.ImageRecord(t.Context(), s.ID); return r.Objects != 77 && err == nil }
	}},
	{"renew record", func(t *testing.T, b *sharedbase.SharedBase) (int64, func() error, func() bool) {
		s := shardIn(t, b, sharedbase.StateReadOnly)
		c := must(b.ClaimImage(t.Context(), s.Name))(t)
		return s.ID, func() error { return c.RenewRecord(t.Context(), sharedbase.ImageRecord{Objects: 77}) },
			func() bool { r, _, err := b.ImageRecord(t.Context(), s.ID); return r.Objects != 77 && err == nil }
	}},
}

// A shard that is quarantined after it was claimed stays as it is, also where the
// quarantine commits while the act waits for the shard's row.
func TestQuarantinedUnderAClaim(t *testing.T) {
	for _, a := range acts {
		t.Run(a.name, func(t *testing.T) {
			b, conn := newBase(t)
			shard, try, unchanged := a.prepare(t, b)
			exec(t, conn, "BEGIN")
			exec(t, conn, "SELECT FROM shards WHERE id = $1 FOR NO KEY UPDATE", shard)
			quarantine := background(func() error { return b.Quarantine(t.Context(), shard, "the reason") })
			watch := connect(t, conn.Config().ConnString())
			blocked(t, watch, 1)
			tried := background(try)
			blocked(t, watch, 2)
			exec(t, conn, "ROLLBACK") // the quarantine was first, and is first
			if err := <-quarantine; err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{<-tried, try()} {
				quarantined := new(sharedbase.QuarantinedError)
				if !errors.As(err, &quarantined) || quarantined.Reason != "the reason" || quarantined.Role != "winery test" {
					t.Errorf("got %v", err)
				}
			}
			if !unchanged() {
				t.Error("it happened")
			}
		})
	}
}

// A claim for repair holds although the shard is quarantined, any other does not;
// and each can be released.
func TestVerifyQuarantined(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	for _, repair := range []bool{true, false} {
		s := shardIn(t, b, sharedbase.StatePacked)
		c := must(b.LockOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning,
			sharedbase.ClaimFilter{Name: s.Name, IncludeQuarantined: repair}))(t)
		with := b.WithImage
		if repair {
			with = b.WithImageForRepair
		}
		err := with(ctx, s.Name, func(ctx context.Context, image *sharedbase.ImageClaim) error {
			if err := b.Quarantine(ctx, s.ID, "reason"); err != nil {
				return err
			}
			for _, err := range []error{c.Verify(ctx), image.Verify(ctx)} {
				if got := errors.As(err, new(*sharedbase.QuarantinedError)); got == repair {
					t.Errorf("for repair %v: %v", repair, err)
				}
			}
			return c.Release(ctx)
		})
		if err != nil {
			t.Errorf("for repair %v: %v", repair, err)
		}
	}
}
