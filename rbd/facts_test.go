// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rados"
	ceph "github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"winery/pool/pooltest"
	"winery/test/cephtest"
	"winery/test/expect"
)

// The tests of this file are of Ceph, not of the package: each is a fact that
// the package is built upon, and fails where a newer Ceph has changed it. See
// also TestQuota, of pools that are full.

// A live holder does not release a lock that was acquired explicitly, not
// automatically: a client that requests the lock, or writes, is refused at once.
func TestFactLiveHolderRefuses(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	first := c.image(t, c.first)
	expect.NoError(t, first.LockAcquire(ceph.LockModeExclusive))
	second := c.image(t, c.second)
	start := time.Now()
	wantErrno(t, "second LockAcquire", second.LockAcquire(ceph.LockModeExclusive), unix.EROFS)
	_, err := second.WriteAt([]byte("text"), 0)
	wantErrno(t, "write without the lock", err, unix.EROFS)
	if took := time.Since(start); took > takeoverLimit {
		t.Errorf("it took %v", took)
	}
}

// A lock that librbd takes by itself, for a write, goes to and fro: two clients
// can write in turns for ever.
func TestFactAutomaticLockGoesBack(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	first, second := c.image(t, c.first), c.image(t, c.second)
	for range 2 {
		for _, image := range []*ceph.Image{first, second} {
			_, err := image.WriteAt([]byte("text"), 0)
			expect.NoError(t, err)
		}
	}
}

// The lock of a holder that was stopped can be taken when its watch has run
// out, half a minute later. It is blocklisted then.
func TestFactStoppedHolderIsReplaced(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	goOn := pooltest.Stop(t, victimPool+"="+c.pools.Pool)
	image := c.image(t, c.first)
	start := time.Now()
	expect.NoError(t, image.LockAcquire(ceph.LockModeExclusive))
	if took := time.Since(start); took < 10*time.Second || took > time.Minute {
		t.Errorf("it took %v, want about 30 s", took)
	}
	if said := goOn(); !bytes.Contains([]byte(said), []byte(unix.ESHUTDOWN.Error())) && !bytes.Contains([]byte(said), []byte("-108")) {
		t.Errorf("the stopped holder went on and said %q", said)
	}
}

// lock_break works at once. The old client can neither read nor write nor open
// again; but a new connection of its process can do it all, which is why a
// process that was blocklisted must not make one.
func TestFactBrokenLock(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	first := c.image(t, c.first)
	expect.NoError(t, first.LockAcquire(ceph.LockModeExclusive))
	second := c.image(t, c.second)
	owners, err := second.LockGetOwners()
	expect.NoError(t, err)
	start := time.Now()
	expect.NoError(t, second.LockBreak(ceph.LockModeExclusive, owners[0].Owner))
	expect.NoError(t, second.LockAcquire(ceph.LockModeExclusive))
	if took := time.Since(start); took > takeoverLimit {
		t.Errorf("it took %v", took)
	}
	_, err = first.WriteAt([]byte("text"), 0)
	wantErrno(t, "write", err, unix.ESHUTDOWN)
	_, err = first.ReadAt(make([]byte, 4), 0)
	wantErrno(t, "read", err, unix.ESHUTDOWN)
	_, err = ceph.OpenImageReadOnly(c.first, "one", ceph.NoSnapshot)
	wantErrno(t, "open", err, unix.ESHUTDOWN)

	expect.NoError(t, second.LockRelease())
	_, err = c.image(t, ioContext(t, c.pools.Pool)).WriteAt([]byte("text"), 0)
	expect.NoError(t, err)
}

// The monitors refuse a number of seconds without a point, such as librbd's
// rbd_blocklist_expire_seconds of Ceph 16. The first entry for an address
// counts until it runs out: a later one neither extends nor shortens it. So
// librbd's own, of an hour, must not come first.
func TestFactBlocklistEntry(t *testing.T) {
	t.Parallel()
	conn := cephtest.Connect(t)
	add := func(addr, expire string) error {
		_, _, err := conn.MonCommand(fmt.Appendf(nil, `{"prefix": "osd blocklist", "blocklistop": "add", "addr": %q, "expire": %s}`, addr, expire))
		return err
	}
	wantErrno(t, "without a point", add("192.0.2.1:0/1", "600"), unix.EINVAL)
	for addr, seconds := range map[string][]string{"192.0.2.1:0/2": {"600.0", "60.0"}, "192.0.2.1:0/3": {"600.0", "6000.0"}} {
		expect.NoError(t, add(addr, seconds[0]))
		first := exiles(t)[addr]
		if first.IsZero() {
			t.Fatalf("%s is not blocklisted", addr)
		}
		expect.NoError(t, add(addr, seconds[1]))
		if second := exiles(t)[addr]; !second.Equal(first) {
			t.Errorf("%s, added for %s: until %v, was %v", addr, seconds, second, first)
		}
	}
}

// A discard of part of an object may leave its bytes readable; writing zeros
// leaves none. So erasing writes zeros.
func TestFactErasing(t *testing.T) {
	t.Parallel()
	c := newClients(t)

	image := c.image(t, c.first)
	content := bytes.Repeat([]byte("x"), 1<<20)
	_, err := image.WriteAt(content, 0)
	expect.NoError(t, err)
	left := func(from, n int) int {
		b := make([]byte, n)
		_, err := image.ReadAt(b, int64(from))
		expect.NoError(t, err)
		return bytes.Count(b, []byte("x"))
	}
	for _, r := range []struct{ from, n int }{{1000, 1000}, {100_000, 60_000}, {300_000, 200_000}} {
		_, err := image.Discard(uint64(r.from), uint64(r.n))
		expect.NoError(t, err)
		if left(r.from, r.n) == 0 {
			t.Errorf("discard of %d bytes at %d left nothing: the fact is no more", r.n, r.from)
		}
		_, err = image.WriteAt(make([]byte, r.n), int64(r.from))
		expect.NoError(t, err)
		if n := left(r.from, r.n); n > 0 {
			t.Errorf("zeros over %d bytes at %d left %d", r.n, r.from, n)
		}
	}
}

// clients are two clients of Ceph at the same time, with an image "one" of 12
// MiB.
type clients struct {
	pools         cephtest.Pool
	first, second *rados.IOContext
}

func newClients(t *testing.T) clients {
	t.Helper()
	pools := cephtest.New(t)
	c := clients{pools, ioContext(t, pools.Pool), ioContext(t, pools.Pool)}
	o := ceph.NewRbdImageOptions()
	defer o.Destroy()
	expect.NoError(t, o.SetUint64(ceph.ImageOptionFeatures, ceph.RbdFeaturesDefault))
	expect.NoError(t, o.SetString(ceph.ImageOptionDataPool, pools.DataPool))
	expect.NoError(t, ceph.CreateImage(c.first, "one", 12<<20, o))
	return c
}

// image opens the image; it is closed with the test.
func (c clients) image(t *testing.T, io *rados.IOContext) *ceph.Image {
	t.Helper()
	image, err := ceph.OpenImage(io, "one", ceph.NoSnapshot)
	expect.NoError(t, err)
	t.Cleanup(func() { image.Close() })
	return image
}

func wantErrno(t *testing.T, what string, err error, want unix.Errno) {
	t.Helper()
	if coded, ok := err.(interface{ ErrorCode() int }); !ok || coded.ErrorCode() != -int(want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}
