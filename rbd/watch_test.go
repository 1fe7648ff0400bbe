// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ceph "github.com/ceph/go-ceph/rbd"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/rbd"
	"winery/test/cephtest"
	"winery/test/expect"
)

// TestNotAlone: a client that has an image open for writing, even without its
// lock, could write to it after Commit. So Commit requires that there is no
// other.
func TestNotAlone(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	p := open(t, settings(pools))
	other := func(t *testing.T, name string) *ceph.Image {
		t.Helper()
		image, err := ceph.OpenImage(ioContext(t, pools.Pool), name, ceph.NoSnapshot)
		expect.NoError(t, err)
		return image
	}
	wantInUse := func(t *testing.T, err error, image *ceph.Image) {
		t.Helper()
		watchers, listErr := image.ListWatchers()
		expect.NoError(t, listErr)
		named := slices.ContainsFunc(watchers, func(w ceph.ImageWatcher) bool {
			return strings.Contains(fmt.Sprint(err), "a process at "+w.Addr)
		})
		if !errors.Is(err, pool.ErrInUse) || !named {
			t.Errorf("got %v, want ErrInUse and an address of %v", err, watchers)
		}
	}
	t.Run("commit", func(t *testing.T) {
		t.Parallel()
		d := write(t, p, "committed", "text")
		image := other(t, "committed")
		wantInUse(t, d.Commit(t.Context()), image)
		expect.NoError(t, d.Abort(t.Context()))
		expect.NoError(t, image.Close())
		expect.NoError(t, write(t, p, "committed", "text").Commit(t.Context()))
	})
	t.Run("commit waits", func(t *testing.T) {
		t.Parallel()
		d := write(t, p, "waiting", "text")
		image := other(t, "waiting")
		closed := make(chan error)
		time.AfterFunc(2*time.Second, func() { closed <- image.Close() })
		done := make(chan error)
		go func() { done <- d.Commit(t.Context()) }()
		expect.NoError(t, <-closed)
		expect.NoError(t, <-done)
	})
	t.Run("create", func(t *testing.T) {
		t.Parallel()
		expect.NoError(t, p.Reserve(t.Context(), "created"))
		image := other(t, "created")
		_, err := p.Create(t.Context(), "created", 0, pooltest.Anything{})
		wantInUse(t, err, image)
		expect.NoError(t, image.Close())
		expect.NoError(t, write(t, p, "created", "text").Commit(t.Context()))
	})
	t.Run("edit", func(t *testing.T) {
		t.Parallel()
		expect.NoError(t, write(t, p, "edited", "text").Commit(t.Context()))
		image := other(t, "edited")
		_, err := p.Edit(t.Context(), "edited", pooltest.Anything{})
		wantInUse(t, err, image)
		expect.NoError(t, image.Close())
		e, err := p.Edit(t.Context(), "edited", pooltest.Anything{})
		expect.NoError(t, err)
		expect.NoError(t, e.Close())
	})
}

// TestEditAfterDeath: an editor takes an image over from a dead or stopped
// process, and blocklists that process for as long as Create does.
func TestEditAfterDeath(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"killed", "stopped"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			pools := cephtest.New(t)
			p := open(t, settings(pools))
			env := victimPool + "=" + pools.Pool
			var goOn func() string
			if end == "stopped" {
				goOn = pooltest.Stop(t, env)
			} else {
				pooltest.Kill(t, env)
			}
			addr := lockedFrom(t, pools.Pool, "one")
			e, err := p.Edit(t.Context(), "one", pooltest.Anything{})
			expect.NoError(t, err)
			expect.NoError(t, e.Close())
			if left := time.Until(exiles(t)[addr]); left < 6*24*time.Hour {
				t.Errorf("%s is blocklisted for %v, want a week", addr, left)
			}
			if goOn == nil {
				return
			}
			if said := goOn(); !strings.Contains(said, pool.ErrFenced.Error()) {
				t.Errorf("the stopped process said %q, want ErrFenced", said)
			}
		})
	}
}

// TestNoExclusiveLock: an image that another program made without the feature
// gets it when it is first needed.
func TestNoExclusiveLock(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	p := open(t, settings(pools))
	io := ioContext(t, pools.Pool)
	for name, do := range map[string]func(*rbd.Pool, string) error{
		"edit": func(p *rbd.Pool, name string) error {
			e, err := p.Edit(t.Context(), name, pooltest.Anything{})
			if err != nil {
				return err
			}
			_, err = e.WriteAt([]byte("text"), 0)
			return errors.Join(err, e.Flush(), e.Close())
		},
		"create": func(p *rbd.Pool, name string) error { return write(t, p, name, "text").Commit(t.Context()) },
	} {
		o := ceph.NewRbdImageOptions()
		defer o.Destroy()
		expect.NoError(t, o.SetUint64(ceph.ImageOptionFeatures, ceph.FeatureLayering))
		expect.NoError(t, o.SetString(ceph.ImageOptionDataPool, pools.DataPool))
		expect.NoError(t, ceph.CreateImage(io, name, 12<<20, o))
		expect.NoError(t, do(p, name))
		image, err := ceph.OpenImageReadOnly(io, name, ceph.NoSnapshot)
		expect.NoError(t, err)
		features, err := image.GetFeatures()
		expect.NoError(t, err)
		expect.NoError(t, image.Close())
		if features&ceph.FeatureExclusiveLock == 0 {
			t.Errorf("%s: the image has features %b", name, features)
		}
	}
}
