// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/test/expect"
	"winery/test/s3test"
)

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
		wantDenied(t, "Commit", edit(200), "older versions", "s3:DeleteObject")
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

// TestLateEraser: an eraser that stalls before it removes the old versions removes none
// that its successor made.
func TestLateEraser(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		s.versioned()
		want := content(1, 100_000)
		finished(t, s.pool, "one", want)
		late := s.edited(want)
		other := newPool(t, settings(server.Endpoint, s.bucket, t.TempDir()))
		err := s.duringSecond("GET /", "versions", func() error { return late.Commit(t.Context()) }, func() {
			e, err := other.Edit(t.Context(), "one", pooltest.Anything{})
			expect.NoError(t, err)
			_, err = e.WriteAt(make([]byte, 10), 2000)
			expect.NoError(t, errors.Join(err, e.Commit(t.Context()), e.Close()))
			clear(want[2000:2010])
		})
		wantErr(t, "Commit", err, pool.ErrInUse)
		expect.NoError(t, late.Close())
		wantContent(t, s.pool, "one", want)
		if n := s.versions(); n != 1 {
			t.Errorf("%d versions, want the successor's", n)
		}
	})
}

// TestVersionsUnlisted: an erasure that may not list versions, and so could not remove that
// with what is erased, changes nothing.
func TestVersionsUnlisted(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		s.versioned()
		finished(t, s.pool, "one", content(1, 100_000))
		e := s.edited(content(1, 100_000))
		s.trouble.Requests(refuse("GET /", "versions", 403, "AccessDenied"))
		err := e.Commit(t.Context())
		s.trouble.Requests(nil)
		wantDenied(t, "Commit", err, "versions", "s3:ListBucketVersions")
		expect.NoError(t, e.Close())
		wantContent(t, s.pool, "one", content(1, 100_000))
		s.wantClean("shards/one")
		if n := s.versions(); n != 1 {
			t.Errorf("%d versions, want the one that there was", n)
		}
	})
}

// TestLateRemove: an image that replaced the one to be removed stays, with its versions.
func TestLateRemove(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		s.versioned()
		finished(t, s.pool, "one", content(1, 1000))
		want := content(2, 2000)
		err := s.during("GET /", "versions", func() error { return s.pool.Remove(t.Context(), "one", pooltest.Anything{}) }, func() {
			s.put(want)
		})
		wantErr(t, "Remove", err, pool.ErrInUse)
		wantContent(t, s.pool, "one", want)
	})
}

// TestAbortedVersions: in a bucket that keeps versions Abort leaves none of two uploads
// that the store returned with other bytes.
func TestAbortedVersions(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		s.versioned()
		d := written(t, s.pool, "one", content(1, 100_000))
		s.trouble.Answers(corrupt(always))
		wantSays(t, "Commit", d.Commit(t.Context()), "other bytes than were uploaded")
		s.trouble.Answers(nil)
		expect.NoError(t, d.Abort(t.Context()))
		if n := s.versions(); n != 0 {
			t.Errorf("%d versions after Abort", n)
		}
	})
}

// TestManyVersions: all pages of the list of versions are read, also those that begin
// with the same key.
func TestManyVersions(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	s.versioned()
	want := content(1, 1000)
	for range 5 {
		s.put(content(2, 100))
	}
	finished(t, s.pool, "one", want)
	for range 5 {
		s.put(want)
	}
	s.trouble.Requests(func(_ http.ResponseWriter, r *http.Request) bool {
		if isOf(r, "GET /", "versions") {
			r.URL.RawQuery += "&max-keys=2"
		}
		return false
	})
	e, err := s.pool.Edit(t.Context(), "one", pooltest.Anything{})
	expect.NoError(t, err)
	expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
	if n := s.versions(); n != 1 {
		t.Errorf("%d versions, want 1", n)
	}
	wantContent(t, s.pool, "one", want)
}

// TestManyUploads: all pages of the list of uploads are read, also those that begin
// with the same key.
func TestManyUploads(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	var ids []string
	for range 4 {
		ids = append(ids, *s.begun("shards/one"))
	}
	s.trouble.Requests(func(w http.ResponseWriter, r *http.Request) bool {
		if !isOf(r, "GET /", "uploads") {
			return false
		}
		page := 0 // one upload each
		for i, id := range ids {
			if r.URL.Query().Get("upload-id-marker") == id {
				page = i + 1
			}
		}
		truncated := "false"
		if page+1 < len(ids) {
			truncated = "true"
		}
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.WriteString(w, strings.NewReplacer("ID", ids[page], "MORE", truncated).Replace("<ListMultipartUploadsResult>"+
			"<Upload><Key>shards/one</Key><UploadId>ID</UploadId></Upload>"+
			"<NextKeyMarker>shards/one</NextKeyMarker><NextUploadIdMarker>ID</NextUploadIdMarker><IsTruncated>MORE</IsTruncated></ListMultipartUploadsResult>"))
		return true
	})
	written(t, s.pool, "one", content(1, 100))
	s.wantUploads()
}
