// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/test/expect"
	"winery/test/s3test"
)

// stage is a bucket with a pool in it, and the server behind Trouble.
type stage struct {
	*testing.T
	server   *s3test.Server
	trouble  *s3test.Trouble
	settings s3.Settings
	bucket   string
	pool     *s3.Pool
}

// on makes a stage on a server; change may be nil.
func on(t *testing.T, server *s3test.Server, change func(*s3.Settings)) *stage {
	t.Helper()
	s := &stage{T: t, server: server, trouble: s3test.Before(t, server), bucket: server.Bucket(t)}
	s.settings = settings(s.trouble.Endpoint, s.bucket, t.TempDir())
	if change != nil {
		change(&s.settings)
	}
	s.pool = newPool(t, s.settings)
	return s
}

// each runs a test on each server.
func each(t *testing.T, test func(t *testing.T, server *s3test.Server)) {
	for kind, server := range servers {
		t.Run(kind, func(t *testing.T) { test(t, server(t)) })
	}
}

// content is n bytes that seed determines.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i) + byte(i>>8)*3 + byte(i>>16)*7
	}
	return b
}

// written makes a draft with a content, which is not committed.
func written(t *testing.T, p pool.Pool, name string, content []byte) pool.Draft {
	t.Helper()
	d, err := p.Create(t.Context(), name, int64(len(content)), pooltest.Anything{})
	expect.NoError(t, err)
	t.Cleanup(func() { _ = d.Abort(context.Background()) })
	_, err = d.WriteAt(content, 0)
	expect.NoError(t, err)
	return d
}

func finished(t *testing.T, p pool.Pool, name string, content []byte) {
	t.Helper()
	expect.NoError(t, written(t, p, name, content).Commit(t.Context()))
}

func wantContent(t *testing.T, p pool.Pool, name string, want []byte) {
	t.Helper()
	img, err := p.Open(t.Context(), name)
	expect.NoError(t, err)
	defer img.Close()
	got, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	expect.NoError(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("image %s has %d bytes, not the %d that it should", name, len(got), len(want))
	}
}

// wantErr checks that an error is of a kind, and says what a person needs.
func wantErr(t *testing.T, what string, err, want error, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
	wantSays(t, what, err, says...)
}

func wantSays(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	for _, text := range append(says, "pool shards") {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%s: the error does not say %q: %v", what, text, err)
		}
	}
}

// wantDenied checks that an error is a *pool.AccessError with a cure.
func wantDenied(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	var denied *pool.AccessError
	if !errors.As(err, &denied) || denied.Cure == "" {
		t.Errorf("%s: got %v, want an AccessError with a cure", what, err)
	}
	wantSays(t, what, err, says...)
}

// keys returns what is in the bucket, and uploads the uploads that are not complete.
func (s *stage) keys() (keys []string) {
	s.Helper()
	out, err := s.server.Client().ListObjectsV2(s.Context(), &awss3.ListObjectsV2Input{Bucket: &s.bucket})
	expect.NoError(s, err)
	for _, o := range out.Contents {
		keys = append(keys, *o.Key)
	}
	return keys
}

func (s *stage) uploads() (keys []string) {
	s.Helper()
	out, err := s.server.Client().ListMultipartUploads(s.Context(), &awss3.ListMultipartUploadsInput{Bucket: &s.bucket})
	expect.NoError(s, err)
	for _, u := range out.Uploads {
		keys = append(keys, *u.Key)
	}
	return keys
}

func (s *stage) files() []string {
	s.Helper()
	return pooltest.Files(s.T, filepath.Join(s.settings.TmpDirectory, "shards"))
}

func (s *stage) wantClean(keys ...string) {
	s.Helper()
	if got := s.keys(); !slices.Equal(got, keys) {
		s.Errorf("the bucket has %q, want %q", got, keys)
	}
	s.wantUploads()
	if got := s.files(); len(got) > 0 {
		s.Errorf("tmp_directory has %q", got)
	}
}

func (s *stage) wantUploads(keys ...string) {
	s.Helper()
	if got := s.uploads(); !slices.Equal(got, keys) {
		s.Errorf("incomplete uploads: %q, want %q", got, keys)
	}
}

// edited opens image "one" and overwrites ten bytes at 1000, in want, too.
func (s *stage) edited(want []byte) pool.Editor {
	s.Helper()
	e, err := s.pool.Edit(s.Context(), "one", pooltest.Anything{})
	expect.NoError(s, err)
	s.Cleanup(func() { _ = e.Close() })
	_, err = e.WriteAt(make([]byte, 10), 1000)
	expect.NoError(s, err)
	clear(want[1000:1010])
	return e
}

// put replaces image "one" past the pool.
func (s *stage) put(content []byte) {
	s.Helper()
	_, err := s.server.Client().PutObject(s.Context(), &awss3.PutObjectInput{
		Bucket: &s.bucket, Key: aws.String("shards/one"), Body: bytes.NewReader(content),
	})
	expect.NoError(s, err)
}

func (s *stage) victim() []string {
	return []string{victimEndpoint + "=" + s.server.Endpoint, victimBucket + "=" + s.bucket, victimTmp + "=" + s.settings.TmpDirectory}
}

// TestKilledWriter: a dead packer leaves a local file, which the next Create removes.
func TestKilledWriter(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		pooltest.Kill(t, s.victim()...)
		if got := s.files(); len(got) != 1 {
			t.Fatalf("the killed writer left %q, want its draft", got)
		}
		pooltest.AfterKill(t, s.pool, "one")
		s.wantClean("shards/one")
	})
}

// TestStoppedWriter: a packer that continues after its successor has finished finds
// the name taken.
func TestStoppedWriter(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		goOn := pooltest.Stop(t, s.victim()...)
		pooltest.AfterKill(t, s.pool, "one")
		if said := goOn(); !strings.Contains(said, pool.ErrExists.Error()) {
			t.Errorf("the stopped writer went on and said %q, want ErrExists", said)
		}
		pooltest.StillThere(t, s.pool, "one")
	})
}

// TestLateCommit: a packer that lost its claim, and whose image was replaced, must not
// replace the new one: where there was no image at its Create, and where there was one.
func TestLateCommit(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		finished(t, s.pool, "two", content(9, 100))
		for _, name := range []string{"one", "two"} {
			late := written(t, s.pool, name, content(1, 200))
			pooltest.AfterKill(t, newPool(t, s.settings), name)
			wantErr(t, "late commit of "+name, late.Commit(t.Context()), pool.ErrExists)
			expect.NoError(t, late.Abort(t.Context()))
			pooltest.StillThere(t, s.pool, name)
		}
		s.wantClean("shards/one", "shards/two")
	})
}

// begun begins an upload of a key, as a process does that dies over it.
func (s *stage) begun(key string) *string {
	s.Helper()
	out, err := s.server.Client().CreateMultipartUpload(s.Context(), &awss3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: &key})
	expect.NoError(s, err)
	_, err = s.server.Client().UploadPart(s.Context(), &awss3.UploadPartInput{
		Bucket: &s.bucket, Key: &key, UploadId: out.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("a part"),
	})
	expect.NoError(s, err)
	return out.UploadId
}

// TestDeadUploads: Create ends uploads of its image that a dead process left, and no
// others.
func TestDeadUploads(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		s.begun("shards/one")
		s.begun("shards/one-more")
		d := written(t, s.pool, "one", content(1, 100))
		s.wantUploads("shards/one-more")
		expect.NoError(t, d.Commit(t.Context()))
	})
}

// TestFenced: a packer whose upload was ended by its successor gets ErrFenced. (The
// other servers answer 500, which is ErrUnavailable.)
func TestFenced(t *testing.T) {
	s := on(t, s3test.Versity(t), nil)
	finished(t, s.pool, "first", content(1, 10)) // tries conditions
	late := written(t, s.pool, "one", content(1, 100))
	other := newPool(t, settings(s.server.Endpoint, s.bucket, t.TempDir()))
	err := s.during("POST /", "uploadId=", func() error { return late.Commit(t.Context()) }, func() {
		finished(t, other, "one", content(2, 300))
		expect.NoError(t, other.Remove(t.Context(), "one", pooltest.Anything{}))
	})
	wantErr(t, "Commit", err, pool.ErrFenced, "another process ended the upload")
}

// TestCommitRace: while a draft is being completed another image appears, on servers
// that know the condition for it.
func TestCommitRace(t *testing.T) {
	for _, server := range []*s3test.Server{s3test.Moto(t), s3test.Versity(t)} {
		t.Run(server.Name, func(t *testing.T) {
			s := on(t, server, nil)
			finished(t, s.pool, "first", content(1, 10)) // tries conditions
			late := written(t, s.pool, "one", content(1, 100))
			want := content(2, 300)
			err := s.during("POST /", "uploadId=", func() error { return late.Commit(t.Context()) }, func() {
				_, err := server.Client().PutObject(t.Context(), &awss3.PutObjectInput{
					Bucket: &s.bucket, Key: aws.String("shards/one"), Body: bytes.NewReader(want),
				})
				expect.NoError(t, err)
			})
			wantErr(t, "Commit", err, pool.ErrExists)
			expect.NoError(t, late.Abort(t.Context()))
			wantContent(t, s.pool, "one", want)
		})
	}
}

// TestWaitForTrial: a Commit that waits until another has tried the conditions ends with
// its context.
func TestWaitForTrial(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	first, second := written(t, s.pool, "one", content(1, 100)), written(t, s.pool, "two", content(1, 100))
	expect.NoError(t, s.during("PUT /", "trial-", func() error { return first.Commit(t.Context()) }, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		wantErr(t, "second Commit", second.Commit(ctx), context.DeadlineExceeded)
	}))
	expect.NoError(t, second.Abort(t.Context()))
	s.wantClean("shards/one")
}

// TestEditors: of two erasers of one version the first to commit wins; the other
// changes nothing, and succeeds with the new version.
func TestEditors(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		want := content(1, 100_000)
		finished(t, s.pool, "one", want)
		edit := func(p *s3.Pool, off int) pool.Editor {
			e, err := p.Edit(t.Context(), "one", pooltest.Anything{})
			expect.NoError(t, err)
			t.Cleanup(func() { _ = e.Close() })
			_, err = e.WriteAt(make([]byte, 10), int64(off))
			expect.NoError(t, err)
			return e
		}
		other := newPool(t, settings(server.Endpoint, s.bucket, t.TempDir()))
		first, second := edit(s.pool, 1000), edit(other, 2000)
		wantContent(t, s.pool, "one", want) // nothing is seen before a Commit
		expect.NoError(t, first.Commit(t.Context()))
		clear(want[1000:1010])
		wantContent(t, s.pool, "one", want)
		wantErr(t, "second Commit", second.Commit(t.Context()), pool.ErrInUse)
		expect.NoError(t, second.Close())
		wantContent(t, s.pool, "one", want)
		again := edit(other, 2000)
		expect.NoError(t, again.Commit(t.Context()))
		clear(want[2000:2010])
		wantContent(t, s.pool, "one", want)
		expect.NoError(t, errors.Join(first.Close(), again.Close()))
		s.wantClean("shards/one")
	})
}

// TestUnchanged: an editor that wrote nothing copies and uploads nothing.
func TestUnchanged(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	finished(t, s.pool, "one", content(1, 100_000))
	e, err := s.pool.Edit(t.Context(), "one", pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.ReadAt(make([]byte, 10), 500)
	expect.NoError(t, err)
	s.trouble.Seen()
	expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
	if seen := s.trouble.Seen(); len(seen) > 0 {
		t.Errorf("requests: %q", seen)
	}
}

// TestReaderDuringErasure: an open image of the old version continues with the new one;
// one that another image has replaced says so.
func TestReaderDuringErasure(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		for _, cached := range []bool{false, true} {
			s := on(t, server, func(s *s3.Settings) {
				if cached {
					s.CacheDirectory, s.CacheSize = t.TempDir(), 10<<20
				}
			})
			want := content(1, 300_000)
			finished(t, s.pool, "one", want)
			mapped, err := s.pool.OpenMapped(t.Context(), "one")
			expect.NoError(t, err)
			stored, err := s.pool.Open(t.Context(), "one")
			expect.NoError(t, err)
			e, err := s.pool.Edit(t.Context(), "one", pooltest.Anything{})
			expect.NoError(t, err)
			_, err = e.WriteAt(make([]byte, 10), 1000)
			expect.NoError(t, err)
			clear(want[1000:1010])
			expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
			for _, img := range []pool.Image{mapped, stored} {
				got := make([]byte, 50_000)
				if _, err := img.ReadAt(got, 0); err != nil || !bytes.Equal(got, want[:50_000]) {
					t.Errorf("cached %v: the reader does not see the new version: %v", cached, err)
				}
			}
			finished(t, s.pool, "one", content(2, 500_000))
			_, err = mapped.ReadAt(make([]byte, 10), 290_000)
			wantErr(t, "reading a replaced image", err, pool.ErrNotFound, "open it again")
			expect.NoError(t, errors.Join(mapped.Close(), stored.Close()))
		}
	})
}

// versioned makes the bucket keep versions.
func (s *stage) versioned() {
	s.Helper()
	_, err := s.server.Client().PutBucketVersioning(s.Context(), &awss3.PutBucketVersioningInput{
		Bucket: &s.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	expect.NoError(s, err)
}

func (s *stage) versions() (n int) {
	s.Helper()
	out, err := s.server.Client().ListObjectVersions(s.Context(), &awss3.ListObjectVersionsInput{Bucket: &s.bucket})
	expect.NoError(s, err)
	return len(out.Versions) + len(out.DeleteMarkers)
}

// TestVersions: in a bucket that keeps versions nothing stays of what was erased, also
// if a Commit was interrupted, and nothing of an image that was removed.
func TestVersions(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		s.versioned()
		want := content(1, 1000)
		finished(t, s.pool, "one", want)
		edit := func(off int64) error {
			e, err := s.pool.Edit(t.Context(), "one", pooltest.Anything{})
			expect.NoError(t, err)
			if off >= 0 {
				_, err = e.WriteAt(make([]byte, 10), off)
				expect.NoError(t, err)
				clear(want[off : off+10])
			}
			return errors.Join(e.Commit(t.Context()), e.Close())
		}
		expect.NoError(t, edit(100))
		if n := s.versions(); n != 1 {
			t.Errorf("%d versions after an erasure, want 1", n)
		}
		s.trouble.Requests(refuse("DELETE /", "versionId=", 403, "AccessDenied"))
		wantDenied(t, "Commit", edit(200), "old versions", "s3:DeleteObject")
		s.trouble.Requests(nil)
		expect.NoError(t, edit(-1)) // nothing is left to be erased, but its old version
		if n := s.versions(); n != 1 {
			t.Errorf("%d versions after the second attempt, want 1", n)
		}
		wantContent(t, s.pool, "one", want)
		finished(t, s.pool, "one", content(2, 500))
		expect.NoError(t, s.pool.Remove(t.Context(), "one", pooltest.Anything{}))
		if n := s.versions(); n != 0 {
			t.Errorf("%d versions after Remove", n)
		}
	})
}

// TestManyImages: a listing has more than one page, and nothing but images.
func TestManyImages(t *testing.T) {
	s := on(t, s3test.Moto(t), func(s *s3.Settings) { s.ImageExtension = ".mosaic" })
	put := func(key string) {
		_, err := s.server.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: strings.NewReader("x")})
		expect.NoError(t, err)
	}
	var want []string
	for i := range 1100 {
		want = append(want, fmt.Sprintf("image-%04d", i))
		put("shards/" + want[i] + ".mosaic")
	}
	for _, key := range []string{"shards/other", "shards/a/b.mosaic", "shards2/x.mosaic", "shards/.mosaic", "shards/-a.mosaic"} {
		put(key)
	}
	expect.NoError(t, s.pool.SetMarker(t.Context(), []byte("marker"), false))
	got, err := s.pool.List(t.Context())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d images, %v", len(got), err)
	}
}

// TestReadOnly: with read_only nothing is changed, and no tmp_directory is needed.
func TestReadOnly(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	want := content(1, 1000)
	finished(t, s.pool, "one", want)
	for key, change := range map[string]func(s *s3.Settings){
		"read_only": func(s *s3.Settings) { s.ReadOnly, s.TmpDirectory = true, "" },
		"anonymous": func(s *s3.Settings) { s.Anonymous = true },
	} {
		other := s.settings
		change(&other)
		p := newPool(t, other)
		wantContent(t, p, "one", want)
		expect.NoError(t, p.CheckAccess(t.Context(), false))
		wantDenied(t, "CheckAccess", p.CheckAccess(t.Context(), true), key)
		_, err := p.Create(t.Context(), "two", 0, pooltest.Anything{})
		wantDenied(t, "Create", err, key)
		_, err = p.Edit(t.Context(), "one", pooltest.Anything{})
		wantDenied(t, "Edit", err, key)
		wantDenied(t, "Remove", p.Remove(t.Context(), "one", pooltest.Anything{}), key)
		wantDenied(t, "SetMarker", p.SetMarker(t.Context(), nil, true), key)
		_, err = p.Space(t.Context())
		expect.NoError(t, err)
	}
}

// TestManyParts: an image of several parts, whose Commit and Edit report progress: for
// each part, and for each piece that is read back.
func TestManyParts(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		var progress atomic.Int32
		ctx := pool.WithProgress(t.Context(), func() { progress.Add(1) })
		want := content(1, 40<<20+5)
		expect.NoError(t, written(t, s.pool, "one", want).Commit(ctx))
		if n := progress.Swap(0); n < 3+11 {
			t.Errorf("Commit reported %d times", n)
		}
		e, err := s.pool.Edit(ctx, "one", pooltest.Anything{})
		expect.NoError(t, err)
		_, err = e.WriteAt(want[:1], 0) // copies the image
		expect.NoError(t, errors.Join(err, e.Close()))
		if n := progress.Load(); n < 11 {
			t.Errorf("WriteAt reported %d times", n)
		}
		wantContent(t, s.pool, "one", want)
		s.wantClean("shards/one")
	})
}

// TestKeepsTheLimit: an upload waits before each piece that is sent, and each that is read
// back; and so does an edit, which also reads the image to copy it, and again to compare the
// copy.
func TestKeepsTheLimit(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		want := content(1, 20<<20+5)
		var moved, largest atomic.Int64
		expect.NoError(t, written(t, s.pool, "one", want).Commit(pool.WithLimit(t.Context(), func(_ context.Context, bytes int64) error {
			moved.Add(bytes)
			for was := largest.Load(); bytes > was && !largest.CompareAndSwap(was, bytes); was = largest.Load() {
			}
			return nil
		})))
		if moved.Load() != 2*int64(len(want)) || largest.Load() > 4<<20 {
			t.Errorf("waited for %d bytes, up to %d at once, want %d", moved.Load(), largest.Load(), 2*len(want))
		}
		moved.Store(0)
		ctx := pool.WithLimit(t.Context(), func(_ context.Context, bytes int64) error { moved.Add(bytes); return nil })
		e, err := s.pool.Edit(ctx, "one", pooltest.Anything{})
		expect.NoError(t, err)
		_, err = e.WriteAt(want[:1], 0)
		expect.NoError(t, errors.Join(err, e.Commit(ctx), e.Close()))
		if moved.Load() != 4*int64(len(want)) {
			t.Errorf("the edit waited for %d bytes, want %d", moved.Load(), 4*len(want))
		}
		enough := errors.New("no more")
		d := written(t, s.pool, "two", want)
		if err := d.Commit(pool.WithLimit(t.Context(), func(context.Context, int64) error { return enough })); !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
		expect.NoError(t, d.Abort(t.Context()))
		s.wantClean("shards/one")
	})
}
