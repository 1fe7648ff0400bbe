// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"winery/pool"
)

// conditions are those under which a store completes an upload. A store that does
// not know a condition may refuse it, or ignore it without a word, so it is tried.
type conditions struct {
	create  bool // If-None-Match: *
	replace bool // If-Match: ETAG
}

// conditions tries, once in the life of a Pool, which conditions the store honours, on
// an object of the pool's own.
func (p *Pool) conditions(ctx context.Context) (conditions, error) {
	select {
	case p.trial <- struct{}{}:
		defer func() { <-p.trial }()
	case <-ctx.Done():
		return conditions{}, ctx.Err()
	}
	if p.honoured != nil {
		return *p.honoured, nil
	}
	key := p.at.own + "trial-" + uuid.NewString()
	made, err := send(ctx, p, "try conditions", func() (*s3.PutObjectOutput, error) {
		return p.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &p.at.bucket, Key: &key, Body: strings.NewReader("x")})
	})
	if err != nil {
		return conditions{}, err
	}
	var c conditions
	var errs [2]error
	c.create, errs[0] = p.refuses(ctx, key, func(in *s3.CompleteMultipartUploadInput) { in.IfNoneMatch = aws.String("*") })
	c.replace, errs[1] = p.refuses(ctx, key, func(in *s3.CompleteMultipartUploadInput) {
		in.IfMatch = aws.String(`"00000000000000000000000000000000"`)
	})
	err = errors.Join(errs[0], errs[1], p.removeTrial(ctx, key, made.VersionId != nil))
	if err != nil {
		return conditions{}, err
	}
	p.honoured = &c
	return c, nil
}

// refuses says whether the store refuses to complete an upload under a condition that
// does not hold.
func (p *Pool) refuses(ctx context.Context, key string, condition func(*s3.CompleteMultipartUploadInput)) (bool, error) {
	begun, err := send(ctx, p, "try conditions", func() (*s3.CreateMultipartUploadOutput, error) {
		return p.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &p.at.bucket, Key: &key})
	})
	if err != nil {
		return false, err
	}
	id := begun.UploadId
	part, err := send(ctx, p, "try conditions", func() (*s3.UploadPartOutput, error) {
		return p.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &p.at.bucket, Key: &key, UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("x"),
		})
	})
	if err == nil {
		in := &s3.CompleteMultipartUploadInput{
			Bucket: &p.at.bucket, Key: &key, UploadId: id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}},
		}
		condition(in)
		_, err = send(ctx, p, "try conditions", func() (*s3.CompleteMultipartUploadOutput, error) {
			return p.client.CompleteMultipartUpload(ctx, in)
		})
	}
	switch {
	case err == nil:
		return false, nil
	case is(err, pool.ErrExists):
		return true, p.abort(ctx, key, id)
	case statusOf(err) == notImplemented, statusOf(err) == http.StatusBadRequest:
		return false, p.abort(ctx, key, id)
	}
	return false, errors.Join(err, p.abort(ctx, key, id))
}

// removeTrial removes the object of a trial, and all of its versions.
func (p *Pool) removeTrial(ctx context.Context, key string, versions bool) error {
	if versions {
		latest, older, err := p.versions(ctx, key)
		if err != nil {
			return err
		}
		return p.removeVersionsOf(ctx, key, append(older, latest))
	}
	_, err := send(ctx, p, "try conditions", func() (*s3.DeleteObjectOutput, error) {
		return p.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.at.bucket, Key: &key})
	})
	return err
}
