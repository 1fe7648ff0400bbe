// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // against damage on the way, as S3 wants it; not a secret
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"winery/pool"
)

const (
	smallestPart = 16 << 20
	maxParts     = 10_000
	// maxImage is the largest image that a store like Amazon's takes.
	maxImage = 5 << 40
	// partConcurrency is how many parts are sent, or read back, at once.
	partConcurrency = 4
	// pieceSize is how much of a part is read from the store at once.
	pieceSize = 4 << 20
	// uploadsTried is how often an image is uploaded that the store returns with
	// other bytes than were sent.
	uploadsTried = 2
	// aborting is how long the end of an upload may take that failed.
	aborting = 30 * time.Second
)

var (
	// errDiffers is returned where the store has other bytes than it was sent.
	errDiffers = errors.New("the store returned other bytes than were uploaded; check its disks and its log")
	// errCopy is returned for a local file that is not what it must be.
	errCopy = errors.New("the file in tmp_directory has other bytes than were read from the store before, and was not uploaded; " +
		"if the next attempt fails, too, check the disk of tmp_directory, and the store")
)

// publication replaces what there is under an image's name by a local file.
type publication struct {
	pool     *Pool
	name     string
	file     *os.File
	size     int64
	replaces *object // nil: there must be no image
	proof    pool.Proof
	expected io.ReaderAt // what the file must have; nil: the caller has verified it
	// beforeComplete is called when all is uploaded, before the store may make it visible.
	beforeComplete func() error

	sums [][]byte // of the parts; each is nil until its part was found to be right

	// doubtful: the store may have this file, or what became of it, in place of what
	// was there, and it was not found to be right.
	doubtful bool
}

// run publishes the file, and reads it back from the store. It verifies the proof
// before it disturbs another upload, and again after all parts were uploaded. It compares
// each part with what is expected before it uploads it. If the store returns other bytes
// than were uploaded, it uploads the file again; the error of that is also errDiffers,
// unless another image has replaced the wrong one. It returns what it made in the
// store, as far as it knows, also with an error.
func (u *publication) run(ctx context.Context) (published *object, err error) {
	if err := pool.Verify(ctx, u.proof); err != nil {
		return nil, err
	}
	if err := u.pool.abortUploads(ctx, u.name); err != nil {
		return nil, err
	}
	u.sums = make([][]byte, u.count())
	var differs error
	for range uploadsTried {
		made, err := u.upload(ctx)
		if err == nil {
			published, u.replaces = &made, &made
			err = u.compare(ctx, made)
			u.doubtful = err != nil
		}
		switch {
		case err == nil, replaced(err):
			return published, err
		case !errors.Is(err, errDiffers):
			return published, errors.Join(differs, err)
		}
		differs = err
		u.pool.retrying("upload", err, 0)
	}
	return published, differs
}

// replaced says whether an error means that another image has replaced the expected one.
func replaced(err error) bool { return is(err, pool.ErrExists) || errors.Is(err, pool.ErrExists) }

// upload uploads the file, and returns what it became.
func (u *publication) upload(ctx context.Context) (_ object, err error) {
	honours, err := u.pool.conditions(ctx)
	if err != nil {
		return object{}, err
	}
	key, version := u.pool.at.image(u.name), uuid.NewString()
	begun, err := send(ctx, u.pool, "upload", func() (*s3.CreateMultipartUploadOutput, error) {
		return u.pool.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: &u.pool.at.bucket, Key: &key, Metadata: map[string]string{versionKey: version}, ContentType: aws.String("application/octet-stream"),
		})
	})
	if err != nil {
		return object{}, err
	}
	id := begun.UploadId
	defer func() {
		if err != nil {
			err = errors.Join(err, u.pool.abort(ctx, key, id))
		}
	}()
	parts, err := u.parts(ctx, key, id)
	if err != nil {
		return object{}, fenced(err)
	}
	if err := pool.Verify(ctx, u.proof); err != nil {
		return object{}, err
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &u.pool.at.bucket, Key: &key, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	switch {
	case u.replaces != nil && honours.replace:
		in.IfMatch = &u.replaces.etag
	case u.replaces == nil && honours.create:
		in.IfNoneMatch = aws.String("*")
	default:
		if err := u.unchanged(ctx); err != nil {
			return object{}, err
		}
	}
	if u.beforeComplete != nil {
		if err := u.beforeComplete(); err != nil {
			return object{}, err
		}
	}
	return u.complete(ctx, in, version)
}

// parts uploads the parts of the file.
func (u *publication) parts(ctx context.Context, key string, id *string) ([]types.CompletedPart, error) {
	parts := make([]types.CompletedPart, u.count())
	return parts, u.each(ctx, func(ctx context.Context, i int) error {
		sum, err := u.sum(ctx, i)
		if err != nil {
			return err
		}
		number, part := aws.Int32(int32(i+1)), u.part(u.file, i)
		for left := part.Size(); left > 0; left -= pieceSize {
			if err := pool.Limited(ctx, min(left, pieceSize)); err != nil {
				return err
			}
		}
		answer, err := send(ctx, u.pool, "upload", func() (*s3.UploadPartOutput, error) {
			if _, err := part.Seek(0, io.SeekStart); err != nil {
				return nil, err
			}
			return u.pool.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &u.pool.at.bucket, Key: &key, UploadId: id, PartNumber: number,
				Body: part, ContentLength: aws.Int64(part.Size()), ContentMD5: aws.String(base64.StdEncoding.EncodeToString(sum)),
			})
		})
		if err == nil {
			parts[i] = types.CompletedPart{PartNumber: number, ETag: answer.ETag}
		}
		return err
	})
}

// sum returns the MD5 of a part of the file, which is right: as expected, where this is
// the first upload of the part, and as in the first upload, where this is the second.
func (u *publication) sum(ctx context.Context, i int) ([]byte, error) {
	got, err := sumOf(u.part(u.file, i))
	if err != nil {
		return nil, err
	}
	want := u.sums[i]
	switch {
	case want != nil:
	case u.expected == nil:
		want = got
	default:
		if want, err = sumOf(limited{ctx, u.part(u.expected, i)}); err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(got, want) {
		return nil, errCopy
	}
	u.sums[i] = got
	return got, nil
}

func sumOf(part io.Reader) ([]byte, error) {
	sum := md5.New() //nolint:gosec // see above
	_, err := io.CopyBuffer(sum, part, make([]byte, pieceSize))
	return sum.Sum(nil), err
}

// each calls do for each part, for several at once.
func (u *publication) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(partConcurrency)
	for i := range u.count() {
		group.Go(func() error {
			if err := do(ctx, i); err != nil {
				return fmt.Errorf("part %d of %d: %w", i+1, u.count(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// count is how many parts the file has; an empty file has one.
func (u *publication) count() int { return int(max(1, (u.size+u.length()-1)/u.length())) }

func (u *publication) length() int64 {
	return max(smallestPart, (u.size/maxParts/smallestPart+1)*smallestPart)
}

// part returns a part of the file, or of what it must have.
func (u *publication) part(of io.ReaderAt, i int) *io.SectionReader {
	off := int64(i) * u.length()
	return io.NewSectionReader(of, off, min(u.length(), u.size-off))
}

// complete makes the upload visible. An answer that was lost, or that a repeated
// request got, does not say whether this upload is visible: its version does. Where the
// store has not refused the request, it may complete the upload later.
func (u *publication) complete(ctx context.Context, in *s3.CompleteMultipartUploadInput, version string) (object, error) {
	_, failed := send(ctx, u.pool, "complete the upload", func() (*s3.CompleteMultipartUploadOutput, error) {
		return u.pool.client.CompleteMultipartUpload(ctx, in)
	})
	if status := statusOf(failed); failed != nil && (status < 400 || status >= 500) {
		u.doubtful = true
	}
	findCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aborting)
	defer cancel()
	found, err := u.pool.find(findCtx, u.name)
	switch {
	case err != nil:
		u.doubtful = true
		return object{}, errors.Join(failed, err)
	case found != nil && found.version == version:
		u.doubtful = true
		return *found, nil
	case failed == nil:
		return object{}, fmt.Errorf("%w: another image replaced the uploaded one immediately", pool.ErrExists)
	}
	return object{}, fenced(failed)
}

// fenced explains the error of an upload that does not exist any more.
func fenced(err error) error {
	if is(err, pool.ErrFenced) {
		return fmt.Errorf("another process ended the upload: %w", err)
	}
	return err
}

// unchanged is what there is instead of a condition where the store honours none: it
// leaves a moment, in which only the claim's lease keeps others away.
func (u *publication) unchanged(ctx context.Context) error {
	found, err := u.pool.find(ctx, u.name)
	switch {
	case err != nil:
		return err
	case found == nil && u.replaces == nil, found != nil && u.replaces != nil && found.etag == u.replaces.etag:
		return nil
	case found == nil:
		return fmt.Errorf("%w: it was removed meanwhile", pool.ErrNotFound)
	}
	return fmt.Errorf("%w: another process made it meanwhile", pool.ErrExists)
}

// compare reads what was published from the store, and compares it with what was sent.
func (u *publication) compare(ctx context.Context, published object) error {
	if published.size != u.size {
		return fmt.Errorf("%w: %d bytes instead of %d", errDiffers, published.size, u.size)
	}
	return u.each(ctx, func(ctx context.Context, i int) error {
		got, err := sumOf(limited{ctx, u.part(pinned{u.pool, ctx, u.name, published}, i)})
		if err == nil && !bytes.Equal(got, u.sums[i]) {
			err = errDiffers
		}
		return err
	})
}

// limited reads no faster than its context allows.
type limited struct {
	ctx  context.Context
	from io.Reader
}

func (l limited) Read(b []byte) (int, error) {
	n, err := l.from.Read(b)
	return n, cmp.Or(pool.Limited(l.ctx, int64(n)), err)
}

// abort ends an upload that failed, which frees its space. It has done so already, or
// another process has, if the store does not know the upload.
func (p *Pool) abort(ctx context.Context, key string, id *string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aborting)
	defer cancel()
	_, err := send(ctx, p, "abort the upload", func() (*s3.AbortMultipartUploadOutput, error) {
		return p.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &p.at.bucket, Key: &key, UploadId: id})
	})
	if is(err, pool.ErrFenced) {
		return nil
	}
	return err
}

// abortUploads ends all uploads of an image that are not complete: of dead processes,
// and of one that lost its claim, which thereby is fenced off.
func (p *Pool) abortUploads(ctx context.Context, name string) error {
	key := p.at.image(name)
	pages := s3.NewListMultipartUploadsPaginator(p.client, &s3.ListMultipartUploadsInput{Bucket: &p.at.bucket, Prefix: &key})
	for pages.HasMorePages() {
		page, err := send(ctx, p, "list uploads", func() (*s3.ListMultipartUploadsOutput, error) { return pages.NextPage(ctx) })
		if statusOf(err) == notImplemented {
			return nil
		}
		if err != nil {
			return err
		}
		for _, upload := range page.Uploads {
			if aws.ToString(upload.Key) != key {
				continue // of another image, whose name begins like this one's
			}
			if err := p.abort(ctx, key, upload.UploadId); err != nil {
				return err
			}
		}
	}
	return nil
}
