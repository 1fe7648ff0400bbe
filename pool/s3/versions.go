// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"winery/pool"
)

// removeVersions removes the versions of an image that are older than the current one,
// in a bucket that keeps versions: they hold objects that were erased since. It lists
// before it removes, and removes nothing unless current is the latest in that list: what
// another process makes meanwhile stays, and is ErrInUse if it was listed.
func (p *Pool) removeVersions(ctx context.Context, name string, current object) error {
	if current.versionID == "" {
		return nil
	}
	key := p.at.image(name)
	latest, older, err := p.versions(ctx, key)
	if err == nil && latest != current.versionID {
		err = fmt.Errorf("%w: another image has replaced it meanwhile", pool.ErrInUse)
	}
	if err == nil {
		err = p.removeVersionsOf(ctx, key, older)
	}
	if err != nil {
		return fmt.Errorf("removing the older versions of the image, which keep the erased bytes: %w", err)
	}
	return nil
}

// listsVersions returns no error if removeVersions will be able to list the versions of an
// image: a missing right ends an erasure before the image is replaced.
func (p *Pool) listsVersions(ctx context.Context, name string, current object) error {
	if current.versionID == "" {
		return nil
	}
	_, err := send(ctx, p, "list versions", func() (*s3.ListObjectVersionsOutput, error) {
		return p.client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{
			Bucket: &p.at.bucket, Prefix: aws.String(p.at.image(name)), MaxKeys: aws.Int32(1),
		})
	})
	if err != nil {
		return fmt.Errorf("listing the versions of the image (older versions would keep the erased bytes): %w", err)
	}
	return nil
}

// versions returns the identifiers of the latest version of an object, or mark of its
// deletion, and of those before.
func (p *Pool) versions(ctx context.Context, key string) (latest string, older []string, err error) {
	add := func(of, id *string, isLatest *bool) {
		switch {
		case aws.ToString(of) != key: // of another object, whose key begins like this one's
		case aws.ToBool(isLatest):
			latest = aws.ToString(id)
		default:
			older = append(older, aws.ToString(id))
		}
	}
	pages := s3.NewListObjectVersionsPaginator(p.client, &s3.ListObjectVersionsInput{Bucket: &p.at.bucket, Prefix: &key})
	for pages.HasMorePages() {
		page, err := send(ctx, p, "list versions", func() (*s3.ListObjectVersionsOutput, error) { return pages.NextPage(ctx) })
		if err != nil {
			return "", nil, err
		}
		for _, v := range page.Versions {
			add(v.Key, v.VersionId, v.IsLatest)
		}
		for _, m := range page.DeleteMarkers {
			add(m.Key, m.VersionId, m.IsLatest)
		}
	}
	return latest, older, nil
}

// removeVersionsOf removes versions of an object.
func (p *Pool) removeVersionsOf(ctx context.Context, key string, ids []string) error {
	for _, id := range ids {
		_, err := send(ctx, p, "remove a version", func() (*s3.DeleteObjectOutput, error) {
			return p.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.at.bucket, Key: &key, VersionId: &id})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
