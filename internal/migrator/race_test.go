// SPDX-License-Identifier: GPL-3.0-or-later

package migrator_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"winery/format"
	"winery/internal/cleaner"
	"winery/internal/migrator"
	"winery/internal/storage"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// One migration of an image is in flight at a time.
func TestClaimed(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	s.old(t)
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.Commit {
			if _, err := s.migrator().Migrate(t.Context(), image); !errors.Is(err, sharedbase.ErrImageClaimed) {
				t.Errorf("a second migration: %v", err)
			}
		}
		return nil
	}
	s.migrate(t)
	s.wantPool(t, s.Pool)
}

// TestUncommittedCopy: a complete copy that its writer has not committed is not relied on:
// the writer, which has lost its claim, may be about to wipe it.
func TestUncommittedCopy(t *testing.T) {
	to := rbd(t)
	s := newStage(t, directory(t, "old"), to)
	all := s.old(t)
	source, err := s.From.Open(t.Context(), image)
	expect.NoError(t, err)
	draft, err := roletest.OpenPools(t, true, to)[to.Name].Create(t.Context(), image, source.Size(), pooltest.Anything{})
	expect.NoError(t, err)
	_, err = io.Copy(io.NewOffsetWriter(draft, 0), io.NewSectionReader(source, 0, source.Size()))
	expect.NoError(t, errors.Join(err, source.Close()))
	written, err := draft.Open(t.Context()) // which makes it durable
	expect.NoError(t, err)
	expect.NoError(t, written.Close())
	s.migrate(t)
	s.wantPool(t, s.Pool)
	expect.NoError(t, draft.Abort(t.Context()))
	s.WantObjects(t, image, all)
}

// A migration that read the shard before another migration moved it changes
// nothing: no object reappears that was erased in the new image since, and the
// image is not lost if the old one is damaged by now.
func TestOvertaken(t *testing.T) {
	eachWay(t, func(t *testing.T, s *stage) {
		all := s.old(t)
		victim := all[7]
		var once sync.Once
		base, err := sharedbase.New(s.DSN, "overtaken", sharedbase.WithObserver(func(st sharedbase.Statement) {
			if st.Done && st.Name() == "ShardByName" {
				once.Do(func() {
					s.migrate(t)
					expect.NoError(t, s.Base.Delete(t.Context(), victim.ID))
					clean := cleaner.New(cleaner.Options{Base: s.Base, Log: s.Log, Pools: storage.Set{s.Pool.Name(): s.Pool}})
					if erased, err := clean.EraseDeleted(t.Context()); erased != 1 || err != nil {
						t.Errorf("erased %d, %v", erased, err)
					}
					edit(t, s.From, 600)
				})
			}
		}))
		expect.NoError(t, err)
		defer base.Close()
		_, err = (&migrator.Migrator{Base: base, From: s.From, To: s.Pool}).Migrate(t.Context(), image)
		wantError(t, err, migrator.ErrSkipped, "already")
		s.wantPool(t, s.Pool)
		s.WantObjects(t, image, append(all[:7:7], all[8:]...))
		if _, err := s.Image(t, image).Get(victim.ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the erased object: %v", err)
		}
	})
}

// A quarantined shard is not moved, neither is one that is quarantined meanwhile.
func TestQuarantined(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	s.old(t)
	id := s.Shard(t, image).ID
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.Committed {
			return s.Base.Quarantine(t.Context(), id, "a person wants to look")
		}
		return nil
	}
	for range 2 {
		_, err := s.migrator().Migrate(t.Context(), image)
		if !errors.As(err, new(*sharedbase.QuarantinedError)) || !strings.Contains(err.Error(), "a person wants to look") {
			t.Errorf("error %v", err)
		}
		s.wantPool(t, s.From)
	}
	s.Pool.At = nil
	expect.NoError(t, s.Base.Unquarantine(t.Context(), image))
	s.migrate(t)
}

// An image in the new pool that has other objects stays, whatever created it.
func TestOtherObjectsStay(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	s.old(t)
	others := roletest.Objects(77, 20, 3000)[1:]
	roletest.Put(t, s.Pool.Pool, image, others)
	_, err := s.migrator().Migrate(t.Context(), image)
	if err == nil || !strings.Contains(err.Error(), "19 objects that its replacement would lose") {
		t.Errorf("error %v", err)
	}
	s.WantObjects(t, image, others)
	s.wantPool(t, s.From)
	expect.NoError(t, s.Pool.Pool.Remove(t.Context(), image, pooltest.Anything{}))
	s.migrate(t)
}

// TestSameLayout: an image of other objects that has the same header is not taken
// for a copy.
func TestSameLayout(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	all := s.old(t)
	others := slices.Clone(all)
	content := bytes.Clone(all[7].Content)
	for changed := false; !changed; changed = s.openOld(t).Info() == s.Image(t, image).Info() {
		content[0]++
		others[7] = sharedbase.Object{ID: sha256.Sum256(content), Content: content}
		roletest.Put(t, s.Pool, image, others)
	}
	m := s.migrator()
	m.NoTransfer = true
	if _, err := m.Migrate(t.Context(), image); err == nil {
		t.Fatal("an image of other objects was accepted")
	}
	s.wantPool(t, s.From)
}
