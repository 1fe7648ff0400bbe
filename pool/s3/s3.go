// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"winery/format"
	"winery/pool"
	"winery/pool/draftfile"
	"winery/pool/s3/blockcache"
)

// Pool is a [pool.Pool] of objects in a bucket.
type Pool struct {
	name   string
	at     location
	format format.Format
	client *s3.Client
	web    *http.Transport

	readOnly, anonymous    bool
	tmp                    string // base of the local folder of drafts
	patience, readPatience time.Duration
	retrying               func(string, error, time.Duration)

	cache *blockcache.Cache // nil: readers' reads are not cached

	trial    chan struct{} // holds a token during a trial of conditions, and for the use of honoured
	honoured *conditions   // what the store honours; nil: it was not tried

	mu      sync.Mutex
	editing map[string]bool // images that this process has open for erasing
}

var _ pool.Pool = (*Pool)(nil)

// New returns the pool. It connects to nothing, and makes the cache's file. Without
// its cache a pool is slower, and nothing else.
func New(s Settings) (*Pool, error) {
	at, err := s.parse()
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", s.PoolName, err)
	}
	s.Patience, s.ReadPatience = cmp.Or(s.Patience, defaultPatience), cmp.Or(s.ReadPatience, defaultReadPatience)
	p := &Pool{
		name: s.PoolName, at: at, format: s.Format, readOnly: s.ReadOnly, anonymous: s.Anonymous, tmp: s.TmpDirectory,
		patience: s.Patience, readPatience: s.ReadPatience,
		retrying: s.Retrying, trial: make(chan struct{}, 1), editing: map[string]bool{},
	}
	if p.retrying == nil {
		p.retrying = func(string, error, time.Duration) {}
	}
	if p.client, p.web, err = newClient(s); err != nil {
		return nil, fmt.Errorf("pool %s: %w", p.name, err)
	}
	if s.CacheDirectory != "" {
		if p.cache, err = newCache(s.CacheDirectory, s.CacheSize); err != nil && s.NoCache != nil {
			s.NoCache(err)
		}
	}
	return p, nil
}

func newCache(folder string, size int64) (*blockcache.Cache, error) {
	space, err := draftfile.Room(folder)
	if err != nil {
		return nil, err
	}
	if size > space.Total {
		return nil, fmt.Errorf("%d bytes are needed, the file system has %d", size, space.Total)
	}
	return blockcache.New(folder, size)
}

// Name implements [pool.Pool].
func (p *Pool) Name() string { return p.name }

// Format implements [pool.Pool].
func (p *Pool) Format() format.Format { return p.format }

// Close implements [pool.Pool].
func (p *Pool) Close() error {
	p.web.CloseIdleConnections()
	if p.cache == nil {
		return nil
	}
	return p.cache.Close()
}

// Reserve implements [pool.Pool]: no packer needs an image to be there, and Python
// Winery would take an empty object for a finished image.
func (p *Pool) Reserve(ctx context.Context, name string) error { return pool.Check(ctx, name) }

// Unreserve implements [pool.Pool].
func (p *Pool) Unreserve(ctx context.Context, name string) error { return pool.Check(ctx, name) }

// Map implements [pool.Pool]: every image that exists is mapped.
func (p *Pool) Map(ctx context.Context, name string) error {
	if err := pool.Check(ctx, name); err != nil {
		return err
	}
	_, err := p.stat(ctx, name)
	return p.fail("map", name, err)
}

// Unmap implements [pool.Pool]: the image stays mapped; what is cached of it on this
// host is forgotten.
func (p *Pool) Unmap(ctx context.Context, name string) error {
	if err := pool.Check(ctx, name); err != nil {
		return err
	}
	if p.cache != nil {
		p.cache.Forget(name)
	}
	return nil
}

// Mapped implements [pool.Pool].
func (p *Pool) Mapped(ctx context.Context) (map[string]bool, error) {
	names, err := p.List(ctx)
	mapped := make(map[string]bool, len(names))
	for _, name := range names {
		mapped[name] = true
	}
	return mapped, err
}

// List implements [pool.Pool].
func (p *Pool) List(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var names []string
	pages := s3.NewListObjectsV2Paginator(p.client, &s3.ListObjectsV2Input{Bucket: &p.at.bucket, Prefix: &p.at.images},
		func(o *s3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		page, err := send(ctx, p, "list", func() (*s3.ListObjectsV2Output, error) { return pages.NextPage(ctx) })
		if err != nil {
			return nil, p.fail("list", "", err)
		}
		for _, object := range page.Contents {
			if name, ok := p.at.name(*object.Key); ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names) // some stores list in another order
	return slices.Compact(names), nil
}

// Remove implements [pool.Pool]. Where the bucket keeps versions, it removes all that
// there are of the image.
func (p *Pool) Remove(ctx context.Context, name string, proof pool.Proof) error {
	if err := p.checkWritable(ctx, name); err != nil {
		return err
	}
	return p.fail("remove", name, p.remove(ctx, name, proof))
}

func (p *Pool) remove(ctx context.Context, name string, proof pool.Proof) error {
	found, err := p.stat(ctx, name)
	if err != nil {
		return err
	}
	if err := pool.Verify(ctx, proof); err != nil {
		return err
	}
	return p.removeObject(ctx, name, found)
}

// removeObject removes an object, after its old versions, if it is still the one that
// was found. Few stores honour a condition for that, so it looks first.
func (p *Pool) removeObject(ctx context.Context, name string, found object) error {
	now, err := p.find(ctx, name)
	if err != nil || now == nil {
		return err
	}
	if *now != found {
		return fmt.Errorf("%w: another image has replaced it meanwhile", pool.ErrInUse)
	}
	if err := p.removeVersions(ctx, name, found); err != nil {
		return err
	}
	in := &s3.DeleteObjectInput{Bucket: &p.at.bucket, Key: aws.String(p.at.image(name)), IfMatch: &found.etag}
	if found.versionID != "" {
		in.IfMatch, in.VersionId = nil, &found.versionID
	}
	remove := func() (*s3.DeleteObjectOutput, error) { return p.client.DeleteObject(ctx, in) }
	_, err = send(ctx, p, "remove", remove)
	if statusOf(err) == notImplemented {
		in.IfMatch = nil
		_, err = send(ctx, p, "remove", remove)
	}
	switch {
	case is(err, pool.ErrNotFound):
		return nil // the answer to an earlier attempt was lost
	case is(err, pool.ErrExists):
		return fmt.Errorf("%w: another image has replaced it meanwhile", pool.ErrInUse)
	}
	return err
}

// Space implements [pool.Pool]: S3 cannot be asked how much room it has. The room in
// tmp_directory is asked for when an image is made or erased.
func (p *Pool) Space(ctx context.Context) (pool.Space, error) { return pool.Unlimited, ctx.Err() }

// folder returns the local folder of the pool's drafts, and makes it in
// tmp_directory, which must exist, for the owner of that.
func (p *Pool) folder() (string, error) {
	folder := filepath.Join(p.tmp, p.name)
	err := draftfile.MakeFolder(folder, 0o700)
	if errors.Is(err, os.ErrExist) {
		err = nil
	}
	return folder, err
}

// localFile makes an empty local file for bytes of an image, if there is room.
func (p *Pool) localFile(name string, bytes int64) (*os.File, error) {
	folder, err := p.folder()
	if err != nil {
		return nil, err
	}
	if err := draftfile.RemoveDead(folder); err != nil {
		return nil, err
	}
	space, err := draftfile.Room(folder)
	if err != nil {
		return nil, err
	}
	if err := pool.CheckRoom(bytes, space.Free); err != nil {
		return nil, fmt.Errorf("tmp_directory %s: %w", p.tmp, err)
	}
	return draftfile.Create(folder, name, 0o600)
}

// checkWritable is pool.Check for calls that change the pool.
func (p *Pool) checkWritable(ctx context.Context, name string) error {
	if err := pool.Check(ctx, name); err != nil {
		return err
	}
	return p.writable()
}

func (p *Pool) writable() error {
	if p.readOnly {
		return &pool.AccessError{Pool: p.name, What: "read_only is true", Cure: "use another pool, or set read_only to false"}
	}
	if p.anonymous {
		return &pool.AccessError{Pool: p.name, What: "anonymous is true", Cure: "set credentials, or read_only to true"}
	}
	return nil
}
