// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rados"
	ceph "github.com/ceph/go-ceph/rbd"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/rbd"
	"winery/test/cephtest"
	"winery/test/expect"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*rbd.Settings){
		"pool_name":       func(s *rbd.Settings) { s.PoolName = "" },
		"shard_max_size":  func(s *rbd.Settings) { s.ShardMaxSize = 0 },
		`"magic" is not`:  func(s *rbd.Settings) { s.FeaturesUnsupported = []string{"fast-diff", "magic"} },
		"two writers":     func(s *rbd.Settings) { s.FeaturesUnsupported = []string{"exclusive-lock"} },
		`map is "nonsens`: func(s *rbd.Settings) { s.MapMode = "nonsense" },
	} {
		s := rbd.Settings{PoolName: "shards", ShardMaxSize: 1}
		change(&s)
		if _, err := rbd.New(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
}

func TestNewImage(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	main := ioContext(t, pools.Pool)
	data := ioContext(t, pools.DataPool)
	all := ceph.FeatureLayering | ceph.FeatureExclusiveLock | ceph.FeatureObjectMap | ceph.FeatureFastDiff | ceph.FeatureDeepFlatten | ceph.FeatureDataPool
	for _, tt := range []struct {
		name        string
		unsupported []string
		features    uint64
		maxSize     int64
		size        uint64
	}{
		{"plain", nil, all, 3 << 20, 6 << 20},
		{"rounded", nil, all, 3<<20 + 1, 7 << 20},
		{"old-kernel", []string{"deep-flatten"}, all &^ ceph.FeatureDeepFlatten, 1, 1 << 20},
		{"no-map", []string{"object-map"}, all &^ (ceph.FeatureObjectMap | ceph.FeatureFastDiff), 1, 1 << 20},
	} {
		s := settings(pools)
		s.FeaturesUnsupported, s.ShardMaxSize = tt.unsupported, tt.maxSize
		d, err := open(t, s).Create(t.Context(), tt.name, 0, pooltest.Anything{})
		expect.NoError(t, err)
		expect.NoError(t, d.Commit(t.Context()))

		image, err := ceph.OpenImageReadOnly(main, tt.name, ceph.NoSnapshot)
		expect.NoError(t, err)
		features, err := image.GetFeatures()
		expect.NoError(t, err)
		size, err := image.GetSize()
		expect.NoError(t, err)
		dataPool, err := image.GetDataPoolID()
		expect.NoError(t, err)
		expect.NoError(t, image.Close())
		if features != tt.features || size != tt.size || dataPool != data.GetPoolID() {
			t.Errorf("%s: features %b, size %d, data pool %d; want %b, %d, %d", tt.name, features, size, dataPool, tt.features, tt.size, data.GetPoolID())
		}
	}
}

// TestRoom: a shard with more in it than the pool's usual image holds gets a
// larger one, also where a smaller one was left behind, which grows.
func TestRoom(t *testing.T) {
	t.Parallel()
	s := settings(cephtest.New(t))
	s.ShardMaxSize = 1 << 20
	for _, tt := range []struct {
		room, size int64
		reserved   bool // no images are made, only filled
	}{{0, 2 << 20, false}, {2 << 20, 2 << 20, false}, {5<<20 + 1, 6 << 20, false}, {0, 6 << 20, false}, {7 << 20, 7 << 20, true}} {
		s.CreateImages = !tt.reserved
		p := open(t, s)
		d, err := p.Create(t.Context(), "one", tt.room, pooltest.Anything{})
		expect.NoError(t, err)
		if d.Size() != tt.size {
			t.Errorf("room for %d: %d bytes, want %d", tt.room, d.Size(), tt.size)
		}
		last := []byte("the last bytes")
		_, err = d.WriteAt(last, tt.size-int64(len(last)))
		expect.NoError(t, err)
		expect.NoError(t, d.Commit(t.Context()))
		img, err := p.Open(t.Context(), "one")
		expect.NoError(t, err)
		got, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
		expect.NoError(t, err)
		expect.NoError(t, img.Close())
		if want := append(make([]byte, tt.size-int64(len(last))), last...); !bytes.Equal(got, want) {
			t.Errorf("room for %d: the image holds more than the last draft", tt.room)
		}
	}
}

// TestNoCreateImages: with create_images off a packer needs the mapper's help.
func TestNoCreateImages(t *testing.T) {
	t.Parallel()
	s := settings(cephtest.New(t))
	s.CreateImages = false
	p := open(t, s)
	_, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
	if !errors.Is(err, pool.ErrNotFound) || !strings.Contains(err.Error(), "--manage-rw-images") {
		t.Errorf("got %v, want a word on --manage-rw-images", err)
	}
	expect.NoError(t, p.Reserve(t.Context(), "one"))
	d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	expect.NoError(t, d.Commit(t.Context()))
}

func TestOpenImagesAreCounted(t *testing.T) {
	t.Parallel()
	p := open(t, settings(cephtest.New(t)))
	d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	if err := p.Remove(t.Context(), "one", pooltest.Anything{}); !errors.Is(err, pool.ErrInUse) {
		t.Errorf("Remove of a draft: got %v, want ErrInUse", err)
	}
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "1 images are still open") {
		t.Errorf("Close with a draft open: got %v", err)
	}
	expect.NoError(t, d.Commit(t.Context()))
	expect.NoError(t, p.Close())
	expect.NoError(t, p.Close())
	if _, err := p.List(t.Context()); err == nil {
		t.Error("a closed pool lists its images")
	}
}

// TestCloseWaitsForCalls: a call that its caller has left behind ends soon as a rule, and
// is no reason for a role to fail when it stops.
func TestCloseWaitsForCalls(t *testing.T) {
	t.Parallel()
	p := open(t, settings(cephtest.New(t)))
	d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	expect.NoError(t, d.Commit(t.Context()))
	img, err := p.Open(t.Context(), "one")
	expect.NoError(t, err)
	closed := make(chan error)
	time.AfterFunc(100*time.Millisecond, func() { closed <- img.Close() })
	failure := p.Close()
	expect.NoError(t, errors.Join(failure, <-closed))
}

// TestFailedClose: librbd frees an image even if it cannot close it. So after a
// failed close nothing touches the handle again, nor counts it twice.
func TestFailedClose(t *testing.T) {
	t.Parallel()
	p := open(t, settings(cephtest.New(t)))
	d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	other, err := p.Create(t.Context(), "two", 0, pooltest.Anything{})
	expect.NoError(t, err)
	expect.NoError(t, rbd.CloseBeneath(d))
	if err := d.Abort(t.Context()); err == nil {
		t.Error("the draft's image was closed beneath it, and Abort had nothing to say")
	}
	expect.NoError(t, d.Abort(t.Context()))
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "1 images are still open") {
		t.Errorf("Close with one draft open: got %v", err)
	}
	expect.NoError(t, other.Abort(t.Context()))
}

// ioContext is a way into a pool that goes past the package under test.
func ioContext(t *testing.T, name string) *rados.IOContext {
	t.Helper()
	ioctx, err := cephtest.Connect(t).OpenIOContext(name)
	expect.NoError(t, err)
	t.Cleanup(ioctx.Destroy)
	return ioctx
}
