// SPDX-License-Identifier: GPL-3.0-or-later

package migrator_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/config"
	"winery/internal/migrator"
	"winery/internal/progress"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

func mosaics(t testing.TB) config.Pool {
	c := roletest.Mosaic(t)
	c.ShardMaxSize = 16 << 20
	return c
}

// eachEncoding runs a test for each pair of pools whose formats differ.
func eachEncoding(t *testing.T, test func(*testing.T, *stage)) {
	for name, stage := range map[string]func(testing.TB) *stage{
		"rbd to mosaic":       func(t testing.TB) *stage { return newStage(t, rbd(t), mosaics(t)) },
		"directory to mosaic": func(t testing.TB) *stage { return newStage(t, directory(t, "old"), mosaics(t)) },
		"mosaic to rbd":       func(t testing.TB) *stage { return newStage(t, mosaics(t), rbd(t)) },
		"mosaic to directory": func(t testing.TB) *stage { return newStage(t, mosaics(t), directory(t, "new")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, stage(t))
		})
	}
}

// eraseIn erases objects in an image.
func eraseIn(t testing.TB, p pool.Pool, ids ...sharedbase.ObjID) {
	t.Helper()
	e, err := p.Edit(t.Context(), image, pooltest.Anything{})
	expect.NoError(t, err)
	n, err := p.Format().Erase(t.Context(), e, e.Size(), image, 1, ids)
	expect.NoError(t, errors.Join(err, e.Commit(t.Context()), e.Close()))
	if n != len(ids) {
		t.Fatalf("erased %d of %d", n, len(ids))
	}
}

// TestEncode: between pools of different formats every object is the same, and erased ones
// are absent; the database records the new image. Back, the old image is used.
func TestEncode(t *testing.T) {
	eachEncoding(t, func(t *testing.T, s *stage) {
		all := s.old(t)
		eraseIn(t, s.From, all[3].ID, all[200].ID)
		left := append(slices.Clone(all[:3]), slices.Concat(all[4:200], all[201:])...)
		m := s.migrator()
		tasks := map[progress.Task]progress.Report{}
		m.Progress = func(p progress.Report) { tasks[p.Task] = p }
		moved, err := m.Migrate(t.Context(), image)
		expect.NoError(t, err)
		if !moved.Copied || !moved.Recorded || moved.Objects != int64(len(left)) {
			t.Errorf("%+v", moved)
		}
		if len(tasks) != 2 || tasks[migrator.Encoding].Done < 9<<20 {
			t.Errorf("tasks: %v", tasks)
		}
		s.wantPool(t, s.Pool)
		s.WantObjects(t, image, left)
		s.wantRecord(t, s.Image(t, image).Reader, len(left))
		if _, _, err := s.Image(t, image).GetUpTo(all[3].ID, -1); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("an erased object: %v", err)
		}

		back := &migrator.Migrator{Base: s.Base, From: s.Pool, To: s.From}
		moved, err = back.Migrate(t.Context(), image)
		expect.NoError(t, err)
		if moved.Copied || !moved.Recorded {
			t.Errorf("back: %+v", moved)
		}
		s.wantPool(t, s.From)
		s.wantRecord(t, openIn(t, s.From), len(all))
	})
}

// openIn opens the image of a pool.
func openIn(t testing.TB, p pool.Pool) format.Reader {
	t.Helper()
	img, err := p.Open(t.Context(), image)
	expect.NoError(t, err)
	t.Cleanup(func() { _ = img.Close() })
	r, err := p.Format().Open(img, img.Size(), image)
	expect.NoError(t, err)
	return r
}

// wantRecord fails the test unless the database has the record of an image.
func (s *stage) wantRecord(t testing.TB, r format.Reader, objects int) {
	t.Helper()
	record, found, err := s.Base.ImageRecord(t.Context(), s.Shard(t, image).ID)
	if err != nil || !found || record.Fingerprint != r.Fingerprint() || record.Objects != int64(objects) {
		t.Errorf("recorded are %d objects, %v, %v; the image has %d", record.Objects, found, err, objects)
	}
}

// TestEncodeReplaces: an unfinished copy is replaced, one that is right is used, and one
// that is damaged is neither.
func TestEncodeReplaces(t *testing.T) {
	for what, test := range map[string]struct {
		change    func(t *testing.T, copied pool.Editor)
		used, err bool
	}{
		"unfinished": {change: func(t *testing.T, copied pool.Editor) {
			_, err := copied.WriteAt(make([]byte, 50), 0)
			expect.NoError(t, err)
		}},
		"damaged": {err: true, change: func(t *testing.T, copied pool.Editor) {
			_, err := copied.WriteAt([]byte("damage"), 60)
			expect.NoError(t, err)
		}},
		"right": {used: true, change: func(*testing.T, pool.Editor) {}},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStage(t, directory(t, "old"), mosaics(t))
			all := s.old(t)
			roletest.Put(t, s.Pool, image, all)
			e, err := s.Pool.Edit(t.Context(), image, pooltest.Anything{})
			expect.NoError(t, err)
			test.change(t, e)
			expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
			moved, err := s.migrator().Migrate(t.Context(), image)
			if test.err {
				if !errors.As(err, new(*format.DamageError)) {
					t.Errorf("got %v", err)
				}
				s.wantPool(t, s.From)
				return
			}
			expect.NoError(t, err)
			if moved.Copied == test.used {
				t.Errorf("%+v", moved)
			}
			s.wantPool(t, s.Pool)
			s.WantObjects(t, image, all)
		})
	}
}

// TestEncodeDamaged: an object of the source that is damaged is not copied.
func TestEncodeDamaged(t *testing.T) {
	s := newStage(t, directory(t, "old"), mosaics(t))
	s.old(t)
	edit(t, s.From, 600)
	_, err := s.migrator().Migrate(t.Context(), image)
	damage, ok := errors.AsType[*format.DamageError](err)
	if !ok || damage.Image != image {
		t.Errorf("got %v", err)
	}
	s.wantPool(t, s.From)
	s.wantNoCopy(t)
}

// TestEncodeStops: an ended context ends the migration, without a copy.
func TestEncodeStops(t *testing.T) {
	s := newStage(t, directory(t, "old"), mosaics(t))
	s.old(t)
	ctx, stop := context.WithCancel(t.Context())
	m := s.migrator()
	m.Progress = func(p progress.Report) {
		if p.Task == migrator.Encoding {
			stop()
		}
	}
	_, err := m.Migrate(ctx, image)
	wantError(t, err, context.Canceled)
	s.wantPool(t, s.From)
	s.wantNoCopy(t)
}

// TestEncodeVerified: a copy is opened again and read before the database is told.
func TestEncodeVerified(t *testing.T) {
	s := newStage(t, directory(t, "old"), mosaics(t))
	all := s.old(t)
	m := s.migrator()
	m.NoRecord = true
	_, err := m.Migrate(t.Context(), image)
	expect.NoError(t, err)
	s.wantPool(t, s.From)
	begin, _ := s.Image(t, image).EntryRange(all[10].ID)
	edit(t, s.Pool, begin+10)
	m = s.migrator()
	m.NoTransfer = true
	if _, err := m.Migrate(t.Context(), image); !errors.As(err, new(*format.DamageError)) {
		t.Errorf("got %v", err)
	}
	s.wantPool(t, s.From)
	edit(t, s.Pool, begin+10)
	_, err = m.Migrate(t.Context(), image)
	expect.NoError(t, err)
	s.wantPool(t, s.Pool)
	_, content, err := s.Image(t, image).GetUpTo(all[10].ID, math.MaxInt64)
	if err != nil || !bytes.Equal(content, all[10].Content) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

// TestEncodeOtherImage: an image in the old pool that is not the recorded one is neither
// encoded nor copied, and the record stays: the objects of the shard would be lost.
func TestEncodeOtherImage(t *testing.T) {
	for what, to := range map[string]config.Pool{"another format": mosaics(t), "the same format": directory(t, "new")} {
		t.Run(what, func(t *testing.T) {
			s := newStage(t, directory(t, "old"), to)
			s.old(t)
			before, _, err := s.Base.ImageRecord(t.Context(), s.Shard(t, image).ID)
			expect.NoError(t, err)
			roletest.Put(t, s.From, image, roletest.Objects(9, 20, 1000))
			_, err = s.migrator().Migrate(t.Context(), image)
			wantError(t, err, sharedbase.ErrOtherImage, "pool ", s.From.Name(), ": ", sharedbase.ErrOtherImage, ": the image has 20 objects")
			s.wantPool(t, s.From)
			s.wantNoCopy(t)
			if now, _, err := s.Base.ImageRecord(t.Context(), s.Shard(t, image).ID); now != before || err != nil {
				t.Errorf("recorded is %+v, %v, and was %+v", now, err, before)
			}
		})
	}
}

// TestRateOfUploads: a copy that is uploaded is sent, and read back, no faster than the
// rate: encoded, or as it is.
func TestRateOfUploads(t *testing.T) {
	for what, from := range map[string]config.Pool{"encoded": directory(t, "old"), "as it is": mosaics(t)} {
		t.Run(what, func(t *testing.T) {
			s := newStage(t, from, roletest.S3(t))
			roletest.Put(t, s.From, image, roletest.Objects(1, 80, 40_000))
			s.record(t)
			original := float64(openIn(t, s.From).Info().Size)
			m := s.migrator()
			m.Rate = rate.NewLimiter(1e-6, 1<<30) // so that what was taken of it can be counted
			_, err := m.Migrate(t.Context(), image)
			expect.NoError(t, err)
			copied := float64(s.Image(t, image).Info().Size)
			if took := 1<<30 - m.Rate.Tokens(); took < original+3*copied-2e5 {
				t.Errorf("it took %.0f bytes of the rate; the original has %.0f, the copy has %.0f", took, original, copied)
			}
		})
	}
}
