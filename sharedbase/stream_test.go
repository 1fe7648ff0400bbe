// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// noise is content that does not compress.
func noise(size int) sharedbase.Object {
	content := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)})
	_, _ = random.Read(content)
	return sharedbase.Object{ID: sha256.Sum256(content), Content: content}
}

// Objects of all sizes come whole, compressed by the server or not, below, at
// and above the size up to which they come in one piece.
func TestStreamTable(t *testing.T) {
	b, _ := newBase(t)
	const slice = 4 << 20
	var all []sharedbase.Object
	for _, size := range []int{0, 1, 2000, 100_000, slice - 1, slice, slice + 1, 2 * slice, 3*slice + 5} {
		text := bytes.Repeat([]byte("text "), size/5+1)[:size]
		all = append(all, noise(size), sharedbase.Object{ID: sha256.Sum256(text), Content: text})
	}
	s := shardIn(t, b, sharedbase.StateFull, all...)
	got := map[sharedbase.ObjID]bool{}
	n, err := b.StreamTable(t.Context(), claim(t, b, s, sharedbase.StatePacking),
		func(id sharedbase.ObjID, size int64, content io.Reader) error {
			hash := sha256.New()
			read, err := io.Copy(hash, content)
			if read != size || sharedbase.ObjID(hash.Sum(nil)) != id || got[id] {
				t.Errorf("object %x: %d of %d bytes, seen before: %v", id, read, size, got[id])
			}
			got[id] = true
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if !got[o.ID] {
			t.Errorf("the object of %d bytes did not come", len(o.Content))
		}
	}
	if int(n) != len(got) {
		t.Errorf("counted %d of %d objects", n, len(got))
	}
}

func TestStreamTableMemory(t *testing.T) {
	b, _ := newBase(t)
	const size, limit = 96 << 20, 24 << 20
	s := func() sharedbase.Shard { return shardIn(t, b, sharedbase.StateFull, noise(size)) }()
	c := claim(t, b, s, sharedbase.StatePacking)
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, peak := inUse(), uint64(0)
	_, err := b.StreamTable(t.Context(), c, func(_ sharedbase.ObjID, _ int64, content io.Reader) error {
		for piece := make([]byte, 1<<20); ; {
			_, err := io.ReadFull(content, piece)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			peak = max(peak, inUse())
		}
	})
	if err != nil || peak > before+limit {
		t.Errorf("%d MiB were in use, %d MiB before: %v", peak>>20, before>>20, err)
	}
}

// TestStreamsAtOnce: streams do not wait for one another, up to as many as were asked for.
func TestStreamsAtOnce(t *testing.T) {
	const streams = 4
	dsn := pgtest.New(t)
	b := open(t, dsn, sharedbase.WithConnections(sharedbase.MinConnections), sharedbase.WithStreams(streams-1))
	must(b.Init(t.Context()))(t)
	var together, all sync.WaitGroup
	together.Add(streams)
	for i := range streams {
		c := claim(t, b, shardIn(t, b, sharedbase.StateFull, noise(10+i)), sharedbase.StatePacking)
		all.Go(func() {
			must(b.StreamTable(t.Context(), c, func(sharedbase.ObjID, int64, io.Reader) error {
				together.Done()
				together.Wait() // for the others, without which none goes on
				return nil
			}))(t)
		})
	}
	all.Wait()
}

// What fn returns is what StreamTable returns, and the stream ends there.
func TestStreamTableStops(t *testing.T) {
	b, _ := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull, noise(10), noise(20), noise(5<<20), noise(6<<20))
	c := claim(t, b, s, sharedbase.StatePacking)
	failure := errors.New("no space")
	for stopAt := range 4 {
		calls := 0
		_, err := b.StreamTable(t.Context(), c, func(sharedbase.ObjID, int64, io.Reader) error {
			if calls++; calls > stopAt {
				return failure
			}
			return nil // leaving content unread is no error
		})
		if !errors.Is(err, failure) || calls != stopAt+1 {
			t.Errorf("stopped at %d: %d calls, %v", stopAt, calls, err)
		}
	}
}

func TestStreamTableNeedsTheClaim(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull, object("content"))
	c := claim(t, b, s, sharedbase.StatePacking)
	exec(t, conn, "UPDATE shards SET state = 'full', locker = NULL")
	_, err := b.StreamTable(t.Context(), c, nil)
	wantState(t, err, sharedbase.StateFull)
}

// A row that is not an object is damage, which trying again does not cure.
func TestStreamTableDamage(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull)
	c := claim(t, b, s, sharedbase.StatePacking)
	for _, row := range []string{"('short', 'content')", "(sha256('x'), NULL)"} {
		exec(t, conn, "INSERT INTO shard_"+s.Name+" VALUES "+row)
		_, err := b.StreamTable(t.Context(), c, func(sharedbase.ObjID, int64, io.Reader) error { return nil })
		if err == nil || errors.Is(err, sharedbase.ErrUnavailable) {
			t.Errorf("row %s: %v", row, err)
		}
		exec(t, conn, "TRUNCATE shard_"+s.Name)
	}
}

// A backend that dies in the middle is an error, in the small objects as in the
// slices of a large one; nothing is taken for the end of the stream.
func TestStreamTableBackendKilled(t *testing.T) {
	b, conn := newBase(t)
	var some []sharedbase.Object
	for i := range 200 {
		some = append(some, noise(100_000+i))
	}
	s := shardIn(t, b, sharedbase.StateFull, append(some, noise(30<<20))...)
	c := claim(t, b, s, sharedbase.StatePacking)
	for _, at := range []int64{100_000, 30 << 20} {
		_, err := b.StreamTable(t.Context(), c, func(_ sharedbase.ObjID, size int64, content io.Reader) error {
			if size == at {
				exec(t, conn, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
					WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL`)
			}
			_, err := io.Copy(io.Discard, content)
			return err
		})
		if !errors.Is(err, sharedbase.ErrUnavailable) {
			t.Errorf("killed at an object of %d bytes: %v", at, err)
		}
	}
	// The claim has survived.
	if n, err := b.StreamTable(t.Context(), c, func(sharedbase.ObjID, int64, io.Reader) error { return nil }); n != 201 || err != nil {
		t.Errorf("streamed %d: %v", n, err)
	}
}

func TestContentAndTableSize(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StateFull, objects("a", "bb", "")...)
	got := contents(t, b, s.Name, ids(objects("bb", "unknown", "", "a", "bb")...))
	if !slices.EqualFunc(got, [][]byte{[]byte("bb"), nil, {}, []byte("a"), []byte("bb")},
		func(x, y []byte) bool { return bytes.Equal(x, y) && (x == nil) == (y == nil) }) {
		t.Errorf("content %q", got)
	}
	if got := contents(t, b, s.Name, nil); len(got) != 0 {
		t.Errorf("content of nothing: %q", got)
	}
	for atMost, want := range map[int64]string{
		-1: "[{2 []} {-1 []} {0 []}]", 1: "[{2 []} {-1 []} {0 []}]", 2: "[{2 [98 98]} {-1 []} {0 []}]",
	} {
		got := must(b.Content(ctx, s.Name, ids(objects("bb", "unknown", "")...), atMost))(t)
		if fmt.Sprint(got) != want || (got[2].Bytes != nil) != (atMost >= 0) {
			t.Errorf("up to %d bytes: %v, want %v", atMost, got, want)
		}
	}
	if n, size, err := b.TableSize(ctx, s.Name); n != 3 || size != 3 || err != nil {
		t.Error(n, size, err)
	}
	if n, size, err := b.TableSize(ctx, shardIn(t, b, sharedbase.StateFull).Name); n != 0 || size != 0 || err != nil {
		t.Error(n, size, err)
	}
	if _, _, err := b.TableSize(ctx, shardIn(t, b, sharedbase.StateReadOnly).Name); !errors.Is(err, sharedbase.ErrNoTable) {
		t.Errorf("size of no table: %v", err)
	}
	if _, err := b.Content(ctx, `x"; DROP TABLE shards; --`, ids(object("a")), 0); !errors.Is(err, sharedbase.ErrNoTable) {
		t.Errorf("content of a table with an evil name: %v", err)
	}
}

// A table that another session has locked is not waited for without end.
func TestSizeOfLockedTable(t *testing.T) {
	t.Parallel()
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull)
	pgtest.Hold(t, conn.Config().ConnString(), "LOCK TABLE shard_"+s.Name)
	if _, _, err := b.TableSize(t.Context(), s.Name); !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}
