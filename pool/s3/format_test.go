// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"winery/format"
	"winery/mosaic"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/pool/s3/blockcache"
	"winery/shard"
	"winery/test/expect"
	"winery/test/s3test"
)

// TestFormats takes an image of each format through its life in S3, as the roles do:
// written, verified, committed, verified in the store, erased in, and read.
func TestFormats(t *testing.T) {
	for name, f := range map[string]format.Format{"SWHShard": shard.Format{}, "Mosaic": mosaic.Format{Zstd: true}} {
		t.Run(name, func(t *testing.T) {
			s := on(t, s3test.Moto(t), func(s *s3.Settings) {
				s.Format = f
				s.CacheDirectory, s.CacheSize = t.TempDir(), 64<<20
			})
			objects := map[format.ObjID][]byte{}
			var erased []format.ObjID
			for i := range 2000 {
				object := bytes.Repeat(fmt.Appendf(nil, "object %d ", i), i%400)
				id := sha256.Sum256(object)
				objects[id] = object
				if i%10 == 5 {
					erased = append(erased, id)
				}
			}
			write(t, s.pool, objects)
			verify := func(objects, deleted int64) {
				t.Helper()
				img, err := s.pool.Open(t.Context(), "one")
				expect.NoError(t, err)
				defer img.Close()
				r, err := f.Open(img, img.Size(), "one")
				expect.NoError(t, err)
				counts, err := r.Verify(t.Context(), nil)
				if err != nil || counts.Objects != objects || counts.Deleted != deleted {
					t.Errorf("verified %+v, %v", counts, err)
				}
			}
			verify(int64(len(objects)), 0)

			e, err := s.pool.Edit(t.Context(), "one", pooltest.Anything{})
			expect.NoError(t, err)
			n, err := s.pool.Format().Erase(t.Context(), e, e.Size(), "one", 4, erased)
			expect.NoError(t, errors.Join(err, e.Commit(t.Context()), e.Close()))
			if n != len(erased) {
				t.Errorf("erased %d of %d objects", n, len(erased))
			}
			for _, id := range erased {
				delete(objects, id)
			}
			verify(int64(len(objects)), int64(n))

			img, err := s.pool.OpenMapped(t.Context(), "one")
			expect.NoError(t, err)
			defer img.Close()
			r, err := f.Open(img, img.Size(), "one")
			expect.NoError(t, err)
			s.trouble.Seen()
			for id, want := range objects {
				if _, got, err := r.GetUpTo(id, 1<<20); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("object %x: %d bytes, %v", id, len(got), err)
				}
			}
			if seen, limit := len(s.trouble.Seen()), int(img.Size()/blockcache.BlockSize)+1; seen > limit {
				t.Errorf("%d objects took %d requests, the image has %d blocks", len(objects), seen, limit)
			}
			for _, id := range erased {
				if _, _, err := r.GetUpTo(id, 1<<20); !errors.Is(err, format.ErrNotFound) {
					t.Errorf("erased object %x: %v", id, err)
				}
			}
			s.wantClean("shards/one")
		})
	}
}

// write makes image "one" as a packer does: it verifies the draft, and commits.
func write(t *testing.T, p pool.Pool, objects map[format.ObjID][]byte) {
	t.Helper()
	d, err := p.Create(t.Context(), "one", p.Format().SizeBound(int64(len(objects)), 4<<20), pooltest.Anything{})
	expect.NoError(t, err)
	defer func() { expect.NoError(t, d.Abort(t.Context())) }()
	w, err := p.Format().NewWriter(d, d.Size())
	expect.NoError(t, err)
	defer w.Close()
	for id, object := range objects {
		expect.NoError(t, w.Add(id, int64(len(object)), bytes.NewReader(object)))
	}
	_, err = w.Finish()
	expect.NoError(t, err)
	draft, err := d.Open(t.Context())
	expect.NoError(t, err)
	r, err := p.Format().Open(draft, draft.Size(), "one")
	expect.NoError(t, err)
	_, err = r.Verify(t.Context(), nil)
	expect.NoError(t, errors.Join(err, draft.Close(), d.Commit(t.Context())))
}
