// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

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

// during calls call, and do while the first request of it that matches waits.
func (s *stage) during(start, part string, call func() error, do func()) error {
	s.Helper()
	return s.duringNth(1, start, part, call, do)
}

// duringSecond is during for the second request that matches.
func (s *stage) duringSecond(start, part string, call func() error, do func()) error {
	s.Helper()
	return s.duringNth(2, start, part, call, do)
}

func (s *stage) duringNth(n int32, start, part string, call func() error, do func()) error {
	s.Helper()
	reached, resume := make(chan struct{}), make(chan struct{})
	var matched atomic.Int32
	s.trouble.Requests(func(_ http.ResponseWriter, r *http.Request) bool {
		if isOf(r, start, part) && matched.Add(1) == n {
			close(reached)
			<-resume
		}
		return false
	})
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case <-reached:
		do()
	case err := <-done:
		s.Fatalf("no request %s…%s: %v", start, part, err)
	}
	close(resume)
	err := <-done
	s.trouble.Requests(nil)
	return err
}
