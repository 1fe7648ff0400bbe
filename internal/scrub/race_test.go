// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"winery/internal/cleaner"
	"winery/internal/packer"
	"winery/internal/scrub"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/harness/relay"
	"winery/test/logtest"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// A scrub while objects are deleted and erased, and shards packed and cleaned,
// finds nothing.
func TestRacing(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		var names []string
		var objects []sharedbase.Object
		for seed := range uint64(4) {
			some := roletest.Objects(seed, 400, 20_000)[1:]
			names = append(names, s.Full(t, some))
			objects = append(objects, some...)
		}
		ctx, done := context.WithCancel(t.Context())
		var others sync.WaitGroup
		role := func(step func(context.Context) (bool, error)) {
			others.Go(func() {
				for ctx.Err() == nil {
					// A table that is read for long cannot be dropped yet.
					if _, err := step(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, sharedbase.ErrUnavailable) && !errors.Is(err, sharedbase.ErrTableInUse) {
						t.Error(err)
					}
				}
			})
		}
		role(packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step)
		role(roletest.Clean(cleaner.New(cleaner.Options{Base: s.Base, Pools: s.Pools, Log: s.Log})))
		deleted := make(chan struct{})
		others.Go(func() {
			defer close(deleted)
			for i := 0; i < len(objects); i += 2 {
				if err := s.Base.Delete(ctx, objects[i].ID); err != nil {
					t.Error(err)
				}
			}
		})
		scrubs := 0
		for over := false; !over; {
			select {
			case <-deleted:
				over = true
			default:
			}
			for _, name := range names {
				finds(t, s, name)
				scrubs++
			}
		}
		done()
		others.Wait()
		clean(t, s)
		for _, name := range names {
			finds(t, s, name)
		}
		t.Logf("%d scrubs", scrubs)
	})
}

// A patrol quarantines the shards of damaged images, and no others.
func TestPatrol(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 100, 5000)
	good, bad := readonly(t, s, roletest.Objects(2, 100, 5000)[1:]), readonly(t, s, objects)
	unmapped := readonly(t, s, roletest.Objects(3, 100, 5000)[1:])
	expect.NoError(t, s.Pool.Unmap(t.Context(), unmapped))
	p := &scrub.Patrol{Scrubber: scrubber(s), Pause: time.Millisecond, Log: slog.New(slog.DiscardHandler)}
	p.Mapped = true
	rounds := make(chan struct{}, 1000)
	s.Pool.At = func(point roletest.Point, image string) error {
		if point == roletest.OpenMapped && image == good {
			select {
			case rounds <- struct{}{}:
			default:
			}
		}
		if image == unmapped {
			t.Error("an image that is not mapped was opened")
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	<-rounds
	wantQuarantined(t, s, bad, false)
	_, position := at(t, s, bad, objects[50].ID)
	s.FlipBit(t, bad, position+9)
	for len(rounds) > 0 { // of before
		<-rounds
	}
	for range 3 {
		<-rounds
	}
	cancel()
	running.Wait()
	wantQuarantined(t, s, bad, true)
	wantQuarantined(t, s, good, false)
	s.FlipBit(t, bad, position+9)
	repairs(t, s, bad, "unquarantined")
}

// TestPatrolInOutage: a round ends when the database is unavailable, and does not try
// each of the remaining images.
func TestPatrolInOutage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	for i := range uint64(3) {
		readonly(t, s, roletest.Objects(i, 10, 1000)[1:])
	}
	r, dsn, err := relay.Database(s.DSN)
	expect.NoError(t, err)
	defer r.Close()
	base, err := sharedbase.New(dsn, "scrub behind a relay")
	expect.NoError(t, err)
	defer base.Close()
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.OpenMapped {
			r.Cut()
		}
		return nil
	}
	var log logtest.Log
	p := &scrub.Patrol{Scrubber: &scrub.Scrubber{Base: base, Pools: s.Pools, Mapped: true}, Log: log.Logger(slog.LevelInfo)}
	if err := p.Round(t.Context()); !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("the round ended with %v", err)
	}
	if n := len(log.Lines("cannot scrub the image")); n != 1 {
		t.Errorf("%d images were tried:\n%s", n, &log)
	}
}

// TestPatrolsShare: a round begins with the images that no host has read back for the
// longest time, and leaves out those that another host reads back meanwhile.
func TestPatrolsShare(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	var names []string
	for i := range uint64(5) {
		names = append(names, readonly(t, s, roletest.Objects(i, 10, 500)[1:]))
	}
	var opened []string
	var meanwhile func(image string)
	s.Pool.At = func(point roletest.Point, image string) error {
		if point == roletest.OpenMapped {
			opened = append(opened, image)
			meanwhile(image)
		}
		return nil
	}
	p := &scrub.Patrol{Scrubber: scrubber(s), Log: slog.New(slog.DiscardHandler)}
	p.Mapped = true
	round := func(during func(image string)) []string {
		t.Helper()
		opened, meanwhile = nil, during
		expect.NoError(t, p.Round(t.Context()))
		slices.Sort(opened)
		return opened
	}
	nothing := func(string) {}
	slices.Sort(names)
	if got := round(nothing); !slices.Equal(got, names) {
		t.Errorf("read %q, want %q", got, names)
	}
	if got := round(nothing); !slices.Equal(got, names) {
		t.Errorf("in the next round read %q, want %q", got, names)
	}
	if got := round(func(image string) {
		for _, name := range names {
			if name != image {
				expect.NoError(t, s.Base.RecordVerified(t.Context(), s.Shard(t, name).ID))
			}
		}
	}); len(got) != 1 {
		t.Errorf("read %q, although another host had read all others", got)
	}
	pgtest.Exec(t, s.DSN, "DELETE FROM winery_verification WHERE shard = $1", s.Shard(t, names[3]).ID)
	all, err := s.Base.Verifications(t.Context())
	expect.NoError(t, err)
	if len(all) != len(names) || all[0].Name != names[3] || !all[0].At.IsZero() ||
		!slices.IsSortedFunc(all, func(a, b sharedbase.Verification) int { return a.At.Compare(b.At) }) {
		t.Errorf("%+v", all)
	}
	expect.NoError(t, s.Base.Quarantine(t.Context(), all[1].ShardID, "test"))
	if got := round(nothing); len(got) != len(names)-1 || slices.Contains(got, all[1].Name) {
		t.Errorf("read %q, want all but the quarantined %s", got, all[1].Name)
	}
}

// TestNotErasedIsVerified: an image with an object that the index does not have is read back
// like any other, and not before all others in each round: nothing of it is missing.
func TestNotErasedIsVerified(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	sound := readonly(t, s, roletest.Objects(1, 10, 500)[1:])
	objects := roletest.Objects(2, 10, 500)[1:]
	name := readonly(t, s, objects)
	pgtest.Exec(t, s.DSN, "DELETE FROM signature2shard WHERE signature = $1", objects[4].ID[:])
	forget(t, s)
	p := &scrub.Patrol{Scrubber: scrubber(s), Log: slog.New(slog.DiscardHandler)}
	p.Mapped = true
	expect.NoError(t, p.Round(t.Context()))
	if got := verified(t, s); len(got) != 2 {
		t.Errorf("verified are %q, want %s and %s", got, sound, name)
	}
	finds(t, s, name, finding{scrub.NotErased, objects[4].ID})
	s.WantQuarantined(t, "")
}

// TestWrongMapping: what a host reads wrongly through its mapping, and the store
// has right, is mapped again; no shard is quarantined.
func TestWrongMapping(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 100, 5000)[1:]
	name := readonly(t, s, objects)
	entry, position := at(t, s, name, objects[50].ID)
	for what, wrong := range map[string]func([]byte, int64){
		"header": roletest.FlipAt(3),
		"object": roletest.FlipAt(position + 9),
		"an index entry is missing": func(b []byte, off int64) {
			for i := range b {
				switch byOff := off + int64(i) - entry; {
				case byOff >= 0 && byOff < 32:
					b[i] = 0
				case byOff >= 32 && byOff < 40:
					b[i] = 0xff
				}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			mapped := &roletest.WrongMapping{Pool: s.Pool, Wrong: wrong, Curable: true}
			s.Pools[s.Config.Name] = mapped
			opened := make(chan struct{}, 3)
			s.Pool.At = func(point roletest.Point, _ string) error {
				if point == roletest.OpenMapped {
					select {
					case opened <- struct{}{}:
					default:
					}
				}
				return nil
			}
			p := &scrub.Patrol{Scrubber: scrubber(s), Pause: time.Millisecond, Log: slog.New(slog.DiscardHandler)}
			p.Mapped = true
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { p.Run(ctx) })
			for range cap(opened) { // the third round begins when two have ended
				<-opened
			}
			cancel()
			running.Wait()
			if n := mapped.Unmaps.Load(); n != 1 {
				t.Errorf("it was mapped again %d times", n)
			}
			wantQuarantined(t, s, name, false)
		})
	}
}
