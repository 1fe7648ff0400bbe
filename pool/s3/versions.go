// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// removeVersions removes the versions of an image that are not the current one, in a
// bucket that keeps versions: they hold objects that were erased since.
func (p *Pool) removeVersions(ctx context.Context, name string, current object) error {
	if current.versionID == "" {
		return nil
	}
	if err := p.removeVersionsOf(ctx, p.at.image(name), current.versionID); err != nil {
		return fmt.Errorf("removing old versions, which hold what was erased: %w", err)
	}
	return nil
}

// removeVersionsOf removes all versions of an object, and marks of deletion, except
// one.
func (p *Pool) removeVersionsOf(ctx context.Context, key, except string) error {
	pages := s3.NewListObjectVersionsPaginator(p.client, &s3.ListObjectVersionsInput{Bucket: &p.at.bucket, Prefix: &key},
		func(o *s3.ListObjectVersionsPaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		page, err := send(ctx, p, "list versions", func() (*s3.ListObjectVersionsOutput, error) { return pages.NextPage(ctx) })
		if err != nil {
			return err
		}
		var old []string
		for _, v := range page.Versions {
			if aws.ToString(v.Key) == key {
				old = append(old, aws.ToString(v.VersionId))
			}
		}
		for _, m := range page.DeleteMarkers {
			if aws.ToString(m.Key) == key {
				old = append(old, aws.ToString(m.VersionId))
			}
		}
		for _, id := range old {
			if id == except {
				continue
			}
			_, err := send(ctx, p, "remove a version", func() (*s3.DeleteObjectOutput, error) {
				return p.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.at.bucket, Key: &key, VersionId: &id})
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
