// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ceph/go-ceph/rbd"

	"winery/format"
	"winery/pool"
)

// The ways to map an image, for Settings.MapMode.
const (
	MapKernel = "kernel"
	MapLibrbd = "librbd"
)

// Settings of an RBD pool.
type Settings struct {
	PoolName            string
	DataPool            string   // "": PoolName-data
	FeaturesUnsupported []string // image features to leave off, by Ceph's names
	ShardMaxSize        int64    // bytes, at least 1; an image has room for twice that
	CreateImages        bool     // Create makes images; if false they must have been reserved
	MapMode             string   // MapKernel ("" too) or MapLibrbd
	MapOptions          string   // for rbd device map -o, comma separated; ms_mode=prefer-crc and queue_depth=8 are added unless it has them
	UseSudo             bool     // map with sudo where the process is not root's
	Conf                string   // path of the ceph.conf; "": as Ceph's tools find it
	Format              format.Format
	User                string // Ceph user without "client."; "": as Ceph's tools find it
}

// Pool is a [pool.Pool] of RADOS block devices.
type Pool struct {
	settings Settings
	features uint64
	size     uint64 // of a new image, in bytes, at the least
	ceph     connection
	kernel   *kernel // nil with MapLibrbd
}

var _ pool.Pool = (*Pool)(nil)

// New checks the settings and returns the pool. It does not connect, so that an
// outage of Ceph is an error only of the calls that need it.
func New(s Settings) (*Pool, error) {
	if s.DataPool == "" {
		s.DataPool = s.PoolName + "-data"
	}
	if s.PoolName == "" {
		return nil, errors.New("rbd: pool_name is missing")
	}
	if s.ShardMaxSize < 1 {
		return nil, fmt.Errorf("rbd: pool %s: shard_max_size is %d, must be at least 1 byte", s.PoolName, s.ShardMaxSize)
	}
	features, err := features(s.FeaturesUnsupported)
	if err != nil {
		return nil, fmt.Errorf("rbd: pool %s: image_features_unsupported: %w", s.PoolName, err)
	}
	from := locate(s)
	p := &Pool{
		settings: s,
		features: features,
		size:     wholeMiB(2 * uint64(s.ShardMaxSize)),
		ceph:     connection{pool: s.PoolName, from: from},
	}
	switch s.MapMode {
	case MapLibrbd:
	case MapKernel, "":
		p.kernel = newKernel(s, from)
		p.kernel.ids = p.imageIDs
	default:
		return nil, fmt.Errorf("rbd: pool %s: map is %q, must be %q or %q", s.PoolName, s.MapMode, MapKernel, MapLibrbd)
	}
	return p, nil
}

// features are those of a new image.
func features(unsupported []string) (uint64, error) {
	f := rbd.FeatureSet(rbd.RbdFeaturesDefault)
	for _, name := range unsupported {
		switch bit := rbd.FeatureSetFromNames([]string{name}); rbd.FeatureSet(bit) {
		case 0:
			return 0, fmt.Errorf("%q is not an image feature; valid names are %v", name, f.Names())
		case rbd.FeatureSet(rbd.FeatureExclusiveLock):
			return 0, fmt.Errorf("%q is required: it prevents two writers of one image", name)
		case rbd.FeatureSet(rbd.FeatureObjectMap):
			f &^= rbd.FeatureSet(rbd.FeatureFastDiff) // which needs it
			fallthrough
		default:
			f &^= bit
		}
	}
	return uint64(f), nil
}

// Name implements [pool.Pool].
func (p *Pool) Name() string { return p.settings.PoolName }

// Format implements [pool.Pool].
func (p *Pool) Format() format.Format { return p.settings.Format }

// Close implements [pool.Pool]. With images still open, or calls in flight, it fails and
// closes nothing, because librbd would continue to use the connection. It waits for a
// connection that is being made.
func (p *Pool) Close() error {
	if err := p.ceph.close(); err != nil {
		return fmt.Errorf("pool %s: close: %w", p.Name(), err)
	}
	return nil
}

// Reserve implements [pool.Pool].
func (p *Pool) Reserve(ctx context.Context, name string) error {
	ceph, err := p.begin(ctx, name)
	if err != nil {
		return err
	}
	defer p.ceph.count(-1)
	if err := p.newImage(ceph.io, name, 0); err != nil && !errors.Is(err, rbd.ErrExist) {
		return p.fail("reserve", name, err)
	}
	if p.kernel != nil {
		return p.fail("reserve", name, p.kernel.mapWritable(ctx, name))
	}
	return nil
}

// Unreserve implements [pool.Pool].
func (p *Pool) Unreserve(ctx context.Context, name string) error {
	if err := pool.Check(ctx, name); err != nil || p.kernel == nil {
		return err
	}
	return p.fail("unreserve", name, p.kernel.unmapWritable(ctx, name))
}

// List implements [pool.Pool]. It includes drafts.
func (p *Pool) List(ctx context.Context) ([]string, error) {
	ceph, err := p.ceph.get(ctx)
	if err != nil {
		return nil, err
	}
	defer p.ceph.count(-1)
	names, err := rbd.GetImageNames(ceph.io)
	if err != nil {
		return nil, p.fail("list", "", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return pool.CheckName(name) != nil })
	slices.Sort(names)
	return names, nil
}

// Remove implements [pool.Pool]. ErrInUse if a client has the image open for
// writing, or mapped writable; read-only mappings cannot be seen.
func (p *Pool) Remove(ctx context.Context, name string, proof pool.Proof) error {
	ceph, err := p.begin(ctx, name)
	if err != nil {
		return err
	}
	defer p.ceph.count(-1)
	return p.fail("remove", name, p.remove(ctx, ceph, name, proof))
}

// remove removes an image under its guard: Create takes that first, and fences the
// process that has it.
func (p *Pool) remove(ctx context.Context, ceph *link, name string, proof pool.Proof) (err error) {
	// Else a process that lost its claim would fence its successor.
	if err := pool.Verify(ctx, proof); err != nil {
		return err
	}
	g, err := ceph.guard(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.release()) }()
	if err := pool.Verify(ctx, proof); err != nil {
		return err
	}
	return rbd.RemoveImage(ceph.io, name)
}

// Map implements [pool.Pool].
func (p *Pool) Map(ctx context.Context, name string) error {
	if p.kernel == nil {
		image, err := p.Open(ctx, name)
		if err != nil {
			return err
		}
		return image.Close()
	}
	if err := pool.Check(ctx, name); err != nil {
		return err
	}
	return p.fail("map", name, p.kernel.mapReadOnly(ctx, name))
}

// Unmap implements [pool.Pool].
func (p *Pool) Unmap(ctx context.Context, name string) error {
	if err := pool.Check(ctx, name); err != nil {
		return err
	}
	if p.kernel == nil {
		return nil
	}
	return p.fail("unmap", name, p.kernel.unmap(ctx, name, func(device) bool { return true }))
}

// Mapped implements [pool.Pool].
func (p *Pool) Mapped(ctx context.Context) (map[string]bool, error) {
	if p.kernel == nil {
		names := map[string]bool{}
		list, err := p.List(ctx)
		for _, name := range list {
			names[name] = true
		}
		return names, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := p.kernel.mapped(ctx)
	return names, p.fail("list mapped", "", err)
}
