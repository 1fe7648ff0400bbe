// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"winery/sharedbase"
)

// The whole life of a shard, as its four daemons lead it.
func TestLife(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	stored := objects("one", "two", "", "three", "two")
	added := must(b.Add(ctx, c, stored))(t)
	if !slices.Equal(added.New, []bool{true, true, true, true, false}) || added.Objects != 4 || added.Bytes != 11 {
		t.Fatalf("added %+v", added)
	}
	if again := must(b.Add(ctx, c, stored))(t); again.Objects != 0 || again.Bytes != 0 || slices.Contains(again.New, true) {
		t.Fatalf("added again %+v", again)
	}
	for i, l := range must(b.Locate(ctx, ids(stored...)))(t) {
		if l != (sharedbase.Location{ShardID: c.ID(), Shard: c.Name(), Pool: "pool", State: sharedbase.StateWriting}) {
			t.Errorf("object %d is at %+v", i, l)
		}
	}
	for i, content := range contents(t, b, c.Name(), ids(stored...)) {
		if content == nil || !bytes.Equal(content, stored[i].Content) {
			t.Errorf("object %d is %q", i, content)
		}
	}
	objs, size, err := b.TableSize(ctx, c.Name())
	if objs != 4 || size != 11 || err != nil {
		t.Fatal(objs, size, err)
	}
	if err := c.SetState(ctx, sharedbase.StateFull); err != nil {
		t.Fatal(err)
	}

	worked, err := b.WithOneShard(ctx, sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{Pools: []string{"pool"}},
		func(ctx context.Context, p *sharedbase.Claim) error {
			n, err := b.StreamTable(ctx, p, func(id sharedbase.ObjID, size int64, content io.Reader) error {
				data, err := io.ReadAll(content)
				at := slices.IndexFunc(stored, func(o sharedbase.Object) bool { return o.ID == id })
				if at < 0 || !bytes.Equal(data, stored[at].Content) || size != int64(len(data)) {
					t.Errorf("streamed %x: %d bytes, %q", id, size, data)
				}
				return err
			})
			if n != 4 || err != nil {
				t.Errorf("streamed %d: %v", n, err)
			}
			return p.SetState(ctx, sharedbase.StatePacked)
		})
	if !worked || err != nil {
		t.Fatal(worked, err)
	}

	ready := sharedbase.ClaimFilter{MinMappedHosts: 2}
	for _, host := range []string{"a", "b", "b"} {
		if none := must(b.LockOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning, ready))(t); none != nil {
			t.Fatal("locked before two hosts mapped it")
		}
		must(b.RecordShardMapped(ctx, host, c.Pool(), c.Name()))(t)
		if host == "b" {
			break
		}
	}
	cleaning := must(b.LockOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning, ready))(t)
	if err := cleaning.DropTable(ctx); err != nil {
		t.Fatal(err)
	}
	s := must(b.ShardByName(ctx, c.Name()))(t)
	if s.State != sharedbase.StateReadOnly || s.Locker != [16]byte{} || !slices.Equal(s.MappedOn, []string{"a", "b"}) {
		t.Errorf("at the end %+v", s)
	}
	if _, err := b.Content(ctx, c.Name(), ids(stored...), 0); !errors.Is(err, sharedbase.ErrNoTable) {
		t.Errorf("content of no table: %v", err)
	}
	if n := must(b.CountObjects(ctx, c.Name()))(t); n != 4 {
		t.Errorf("%d objects", n)
	}
}
