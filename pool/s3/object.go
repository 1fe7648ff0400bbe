// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"winery/pool"
)

const notImplemented = http.StatusNotImplemented

// versionKey is the metadata that tells uploads of one image apart. Each has its own
// value, which survives a lost answer: who uploaded it can recognise it.
const versionKey = "winery-version"

// object is what the store had under an image's name at some moment.
type object struct {
	size      int64
	etag      string
	version   string // of versionKey; "" of an object that Python Winery made
	versionID string // the store's own; "" in a bucket that keeps no versions
}

// stat asks for an image. Its error is pool.ErrNotFound or the store's. It reads the
// first byte, since the answer to HEAD has no body and could not say what is wrong.
func (p *Pool) stat(ctx context.Context, name string) (object, error) {
	return p.statFor(ctx, p.patience, name)
}

func (p *Pool) statFor(ctx context.Context, patience time.Duration, name string) (found object, err error) {
	key := p.at.image(name)
	err = p.retry(ctx, patience, "open", func() error {
		answer, err := p.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &p.at.bucket, Key: &key, Range: aws.String("bytes=0-0")})
		if statusOf(err) == http.StatusRequestedRangeNotSatisfiable { // an empty object
			head, err := p.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &p.at.bucket, Key: &key})
			if err != nil {
				return err
			}
			found = object{aws.ToInt64(head.ContentLength), aws.ToString(head.ETag), head.Metadata[versionKey], aws.ToString(head.VersionId)}
			return nil
		}
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		size, err := totalSize(answer)
		found = object{size, aws.ToString(answer.ETag), answer.Metadata[versionKey], aws.ToString(answer.VersionId)}
		return err
	})
	if err == nil && found.etag == "" {
		err = fmt.Errorf("%w: an object without an ETag", errAnswer)
	}
	return found, err
}

// slowest is the fewest bytes a second with which an answer may come.
const slowest = 1 << 20

// orCause returns why ctx ended, if it did, and else err.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// totalSize returns the size of the object of which the answer is a part.
func totalSize(answer *s3.GetObjectOutput) (size int64, err error) {
	if answer.ContentRange == nil { // an object of one byte, or a store without ranges
		return aws.ToInt64(answer.ContentLength), nil
	}
	_, total, _ := strings.Cut(*answer.ContentRange, "/")
	if _, err := fmt.Sscan(total, &size); err != nil {
		return 0, fmt.Errorf("%w: range %q", errAnswer, *answer.ContentRange)
	}
	return size, nil
}

// read fills b from offset off of an image, whose ETag must still be etag, which
// else is pool.ErrExists. A body that ends early, or stalls, is resumed. It returns
// how many bytes are right.
func (p *Pool) read(ctx context.Context, patience time.Duration, name, etag string, b []byte, off int64) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	key := p.at.image(name)
	err = p.retry(ctx, patience, "read", func() error {
		from, to := off+int64(n), off+int64(len(b))-1
		limit := min(patience, stallTimeout) + time.Duration(to-from)*time.Second/slowest
		ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: it took longer than %v", errBody, limit))
		defer cancel()
		answer, err := p.client.GetObject(ctx, &s3.GetObjectInput{
			Bucket: &p.at.bucket, Key: &key, IfMatch: &etag, Range: aws.String(fmt.Sprintf("bytes=%d-%d", from, to)),
		})
		if err != nil {
			return orCause(ctx, err)
		}
		defer answer.Body.Close()
		if want := fmt.Sprintf("bytes %d-%d/", from, to); !strings.HasPrefix(aws.ToString(answer.ContentRange), want) {
			return fmt.Errorf("%w: range %q instead of %q", errAnswer, aws.ToString(answer.ContentRange), want)
		}
		got, err := io.ReadFull(answer.Body, b[n:])
		n += got
		if err != nil {
			return orCause(ctx, fmt.Errorf("%w: after %d of %d bytes: %w", errBody, n, len(b), err))
		}
		return nil
	})
	return n, err
}

// exists returns nil if there is a bucket, and this process may list it.
func (p *Pool) exists(ctx context.Context) error {
	_, err := send(ctx, p, "list", func() (*s3.ListObjectsV2Output, error) {
		return p.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &p.at.bucket, Prefix: &p.at.images, MaxKeys: aws.Int32(1)})
	})
	return err
}

// find is stat that returns nil where there is no image.
func (p *Pool) find(ctx context.Context, name string) (*object, error) {
	found, err := p.stat(ctx, name)
	if is(err, pool.ErrNotFound) {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if err != nil {
		return nil, err
	}
	return &found, nil
}

// errReplaced is returned by an image that was opened before another took its place.
var errReplaced = errors.New("another image has replaced the one that was opened; open it again")
