// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/test/expect"
	"winery/test/s3test"
)

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
