// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"winery/pool"
)

// maxMarker bounds what is read of a marker.
const maxMarker = 64 << 10

// Init implements [pool.Pool]: administrators make buckets.
func (p *Pool) Init(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.fail("init", "", p.exists(ctx))
}

// Marker implements [pool.Pool].
func (p *Pool) Marker(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	marker, err := p.readMarker(ctx)
	if is(err, pool.ErrNotFound) {
		return nil, fmt.Errorf("pool %s: %w: s3://%s/%s", p.name, pool.ErrNoMarker, p.at.bucket, p.at.marker())
	}
	return marker, p.fail("read the marker", "", err)
}

func (p *Pool) readMarker(ctx context.Context) ([]byte, error) {
	key := p.at.marker()
	return send(ctx, p, "read the marker", func() ([]byte, error) {
		answer, err := p.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &p.at.bucket, Key: &key})
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		marker, err := io.ReadAll(io.LimitReader(answer.Body, maxMarker))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBody, err)
		}
		return marker, nil
	})
}

// SetMarker implements [pool.Pool]. Of several first markers at once the store takes
// one, by its condition; where it honours none, the last one stays, and is read again.
func (p *Pool) SetMarker(ctx context.Context, marker []byte, replace bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.writable(); err != nil {
		return err
	}
	return p.fail("write the marker", "", p.setMarker(ctx, marker, replace))
}

func (p *Pool) setMarker(ctx context.Context, marker []byte, replace bool) error {
	in := &s3.PutObjectInput{Bucket: &p.at.bucket, Key: aws.String(p.at.marker())}
	if !replace {
		if _, err := p.readMarker(ctx); !is(err, pool.ErrNotFound) {
			return orExists(err)
		}
		in.IfNoneMatch = aws.String("*")
	}
	put := func() (*s3.PutObjectOutput, error) {
		in.Body = bytes.NewReader(marker)
		return p.client.PutObject(ctx, in)
	}
	_, err := send(ctx, p, "write the marker", put)
	if statusOf(err) == notImplemented {
		in.IfNoneMatch = nil
		_, err = send(ctx, p, "write the marker", put)
	}
	if err != nil && !is(err, pool.ErrExists) {
		return err
	}
	// An attempt whose answer was lost may have stored it.
	stored, err := p.readMarker(ctx)
	if err == nil && !bytes.Equal(stored, marker) {
		err = orExists(nil)
	}
	return err
}

func orExists(err error) error {
	if err == nil {
		err = fmt.Errorf("%w: the pool has a marker", pool.ErrExists)
	}
	return err
}
