// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/scrub"
	"winery/pool"
	"winery/test/expect"
	"winery/test/logtest"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// forget removes the records of when images were read back.
func forget(t *testing.T, s *roletest.Stage) {
	t.Helper()
	pgtest.Exec(t, s.DSN, "DELETE FROM winery_verification")
}

// verified are the shards whose image was read back since then.
func verified(t *testing.T, s *roletest.Stage) (names []string) {
	t.Helper()
	all, err := s.Base.Verifications(t.Context())
	expect.NoError(t, err)
	for _, v := range all {
		if !v.At.IsZero() {
			names = append(names, v.Name)
		}
	}
	return names
}

// wantLogged fails the test unless one line has a message, with these words.
func wantLogged(t *testing.T, log *logtest.Log, message string, words ...string) {
	t.Helper()
	lines := log.Lines(message)
	if len(lines) != 1 || slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(lines[0], word) }) {
		t.Errorf("expected one line %q with %q; the log has:\n%s", message, words, log)
	}
}

// TestHungImage: an image that hangs is left behind, and read again only when the call has
// returned. The others are scrubbed.
func TestHungImage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	hung, good := readonly(t, s, roletest.Objects(1, 10, 1000)), readonly(t, s, roletest.Objects(2, 10, 1000)[1:])
	var opened atomic.Int64
	release := make(chan struct{})
	s.Pool.At = func(point roletest.Point, image string) error {
		switch {
		case image == hung && point == roletest.OpenMapped:
			opened.Add(1)
		case image == hung && point == roletest.Read:
			<-release
		}
		return nil
	}
	var log logtest.Log
	p := &scrub.Patrol{Scrubber: scrubber(s), CallTimeout: 10 * time.Second, Log: log.Logger(slog.LevelInfo)}
	p.Mapped = true
	for range 2 {
		forget(t, s)
		expect.NoError(t, p.Round(t.Context()))
		if names := verified(t, s); !slices.Equal(names, []string{good}) || opened.Load() != 1 {
			t.Errorf("verified are %q, want %q; the image that hangs was opened %d times", names, good, opened.Load())
		}
	}
	wantLogged(t, &log, "image does not answer, scrubbing the next one", "shard="+hung, "pool=files", "has not returned for 10s")
	close(release)
	expect.Eventually(t, "the image to be scrubbed that answers again", func() bool {
		expect.NoError(t, p.Round(t.Context()))
		return len(verified(t, s)) == 2
	})
}

// TestStopWhileAnImageHangs: a patrol ends although a call does not return.
func TestStopWhileAnImageHangs(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	readonly(t, s, roletest.Objects(1, 10, 1000))
	reading, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.Pool.At = func(point roletest.Point, _ string) error {
		if point == roletest.Read {
			close(reading)
			<-release
			return errors.New("released")
		}
		if point == roletest.After(roletest.Close) {
			close(closed)
		}
		return nil
	}
	p := &scrub.Patrol{Scrubber: scrubber(s), Log: slog.New(slog.DiscardHandler)}
	p.Mapped = true
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	<-reading
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the patrol waits for a call that hangs")
	}
	close(release)
	<-closed
	<-ended
}

// TestRefusedPool: a pool that fails keeps no image of another pool from being scrubbed, and
// is logged once until it works again.
func TestRefusedPool(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	refused, good := readonly(t, s, roletest.Objects(1, 10, 1000)), readonly(t, s, roletest.Objects(2, 10, 1000)[1:])
	expect.NoError(t, another(t, s, good).Map(t.Context(), good))
	pgtest.Exec(t, s.DSN, "UPDATE shards SET pool_name = 'other' WHERE name = $1", good)
	refuses := true
	s.Pool.At = func(point roletest.Point, _ string) error {
		if refuses && point == roletest.Listing {
			return errors.New("refused")
		}
		return nil
	}
	var log logtest.Log
	p := &scrub.Patrol{Scrubber: scrubber(s), Log: log.Logger(slog.LevelInfo)}
	p.Mapped = true
	for range 2 {
		forget(t, s)
		expect.NoError(t, p.Round(t.Context()))
		if names := verified(t, s); !slices.Equal(names, []string{good}) {
			t.Errorf("verified are %q, want %q", names, good)
		}
	}
	wantLogged(t, &log, "pool cannot be scrubbed, scrubbing the other pools", "pool=files", "refused")
	refuses = false
	expect.NoError(t, p.Round(t.Context()))
	if names := verified(t, s); !slices.Contains(names, refused) {
		t.Errorf("verified are %q, want %q, too", names, refused)
	}
	wantLogged(t, &log, "pool is scrubbed again", "pool=files")
}

// cached is a pool of which the host has cached what the mapping of another returns.
type cached struct {
	pool.Pool
	mapping pool.Pool
}

func (c cached) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	if pool.SkipsCache(ctx) {
		return c.Pool.OpenMapped(ctx, name)
	}
	return c.mapping.OpenMapped(ctx, name)
}

// TestCachedOnThisHost: bytes that changed in the store are found although the host has
// cached what they were; those that are wrong in the cache alone say nothing of the image.
func TestCachedOnThisHost(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 10, 1000)[1:]
	name := readonly(t, s, objects)
	_, position := at(t, s, name, objects[5].ID)
	s.Pools[s.Config.Name] = cached{s.Pool, &roletest.WrongMapping{Pool: s.Pool, Wrong: roletest.FlipAt(position + 9)}}
	p := &scrub.Patrol{Scrubber: scrubber(s), Log: slog.New(slog.DiscardHandler)}
	p.Mapped = true

	forget(t, s)
	expect.NoError(t, p.Round(t.Context()))
	if names := verified(t, s); !slices.Equal(names, []string{name}) {
		t.Errorf("verified are %q, want %q", names, name)
	}
	s.WantQuarantined(t, "")

	s.FlipBit(t, name, position+9) // now the cache alone is right
	forget(t, s)
	expect.NoError(t, p.Round(t.Context()))
	if names := verified(t, s); len(names) > 0 {
		t.Errorf("verified are %q, want none", names)
	}
	wantQuarantined(t, s, name, true)
}
