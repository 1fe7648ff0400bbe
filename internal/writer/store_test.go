// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"bytes"
	"errors"
	"testing"

	"winery/internal/rpc"
	"winery/internal/writer"
	"winery/sharedbase"
)

func TestStore(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	s := writer.Store{Base: f.base, Reader: f.reader, Writer: f.start(writer.Options{}), AllowDelete: true}
	a, b, missing := object("a"), object("bb"), object("missing")

	for _, want := range []struct {
		objects int
		bytes   int64
	}{{2, 3}, {0, 0}} {
		n, bytes, err := s.Add(ctx, []rpc.Object{rpc.Object(a), rpc.Object(b)}, true)
		if n != want.objects || bytes != want.bytes || err != nil {
			t.Errorf("Add: %d, %d, %v, want %v", n, bytes, err, want)
		}
	}
	if there, err := s.Contains(ctx, a.ID); !there || err != nil {
		t.Errorf("Contains: %v, %v", there, err)
	}
	if content, err := s.Get(ctx, b.ID); !bytes.Equal(content, b.Content) || err != nil {
		t.Errorf("Get: %q, %v", content, err)
	}
	contents, err := s.GetBatch(ctx, [][32]byte{a.ID, missing.ID})
	if err != nil || !bytes.Equal(contents[0], a.Content) || contents[1] != nil {
		t.Errorf("GetBatch: %q, %v", contents, err)
	}
	f.must(s.Check(ctx, a.ID))
	f.must(s.Delete(ctx, a.ID))
	for what, err := range map[string]error{
		"Get":    second(s.Get(ctx, a.ID)),
		"Check":  s.Check(ctx, a.ID),
		"Delete": s.Delete(ctx, a.ID),
	} {
		if !errors.Is(err, rpc.ErrNotFound) {
			t.Errorf("%s of a deleted object: %v", what, err)
		}
	}

	wrong := sharedbase.Object{ID: missing.ID, Content: []byte("other bytes")}
	_, _, err = s.Add(ctx, []rpc.Object{rpc.Object(wrong)}, false)
	f.must(err)
	if err := s.Check(ctx, wrong.ID); !errors.Is(err, rpc.ErrCorrupted) {
		t.Errorf("Check of a corrupted object: %v", err)
	}
}

func TestStoreRefuses(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	w := f.start(writer.Options{})
	f.add(w, object("kept"))
	id := object("kept").ID

	noDelete := writer.Store{Base: f.base, Reader: f.reader, Writer: w}
	if err := noDelete.Delete(ctx, id); !errors.Is(err, rpc.ErrForbidden) {
		t.Errorf("Delete where it is off: %v", err)
	}
	readOnly := writer.Store{Base: f.base, Reader: f.reader, AllowDelete: true}
	if err := readOnly.Delete(ctx, id); !errors.Is(err, rpc.ErrReadOnly) {
		t.Errorf("Delete, read-only: %v", err)
	}
	if _, _, err := readOnly.Add(ctx, []rpc.Object{rpc.Object(object("new"))}, false); !errors.Is(err, rpc.ErrReadOnly) {
		t.Errorf("Add, read-only: %v", err)
	}
	f.stored(object("kept"))

	f.must(w.Close(ctx))
	if _, _, err := noDelete.Add(ctx, []rpc.Object{rpc.Object(object("new"))}, false); !errors.Is(err, rpc.ErrUnavailable) {
		t.Errorf("Add at shutdown: %v", err)
	}
	relay, dsn := relayed(t, f.dsn)
	relay.cut()
	away := writer.Store{Base: f.open(dsn), Reader: f.reader, Writer: w, AllowDelete: true}
	if err := away.Delete(ctx, id); !errors.Is(err, rpc.ErrUnavailable) {
		t.Errorf("Delete without the database: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
