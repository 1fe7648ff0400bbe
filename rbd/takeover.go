// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"
)

// exile is for how long a process that was shut out stays so. One that was
// stopped for longer than that is stopped by the database alone.
const exile = 7 * 24 * time.Hour

// imageLock is what librbd calls the exclusive lock, on the image's header.
const imageLock = "rbd_lock"

// kernelCookies is where the Linux kernel's numbers of watches begin; librbd's
// are addresses in memory.
const kernelCookies = 0xffff_0000_0000_0000

// freeImage shuts out the process that has an image's exclusive lock.
func (l *link) freeImage(image *rbd.Image) error {
	id, err := image.GetId()
	if err != nil {
		return err
	}
	return l.shutOut("rbd_header."+id, imageLock, ofProcess)
}

// ofProcess tells whether the holder of an exclusive lock is one process. The
// lock of a kernel is asked for instead, by librbd: its client is the whole
// host's, with all that is mapped there. A lock of another cookie than librbd's
// was laid by hand, and stays.
func ofProcess(cookie string) bool {
	watch, auto := strings.CutPrefix(cookie, "auto ")
	n, err := strconv.ParseUint(watch, 10, 64)
	return auto && err == nil && n < kernelCookies
}

// shutOut has the holder of a lock blocklisted, if which agrees by its cookie,
// and then takes the lock from it. That order leaves no moment in which a lock
// is gone and its holder can write. What this very link holds it keeps.
func (l *link) shutOut(object, lock string, which func(cookie string) bool) error {
	held, err := l.io.ListLockers(object, lock)
	if errno(err) == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	for i, client := range held.Clients {
		if client == fmt.Sprintf("client.%d", l.conn.GetInstanceID()) || !which(held.Cookies[i]) {
			continue
		}
		if err := l.blocklist(held.Addrs[i]); err != nil {
			return fmt.Errorf("shutting out %s at %s: %w", client, held.Addrs[i], err)
		}
		if _, err := l.io.BreakLock(object, lock, client, held.Cookies[i]); err != nil {
			return err
		}
	}
	return nil
}

// blocklist shuts a client out of the whole Ceph. From then on each OSD learns
// of it by the first request of ours, before it answers that.
func (l *link) blocklist(addr string) error {
	// The monitors want a number with a point, which package json does not write.
	_, status, err := l.conn.MonCommand(fmt.Appendf(nil,
		`{"prefix": "osd blocklist", "blocklistop": "add", "addr": %q, "expire": %d.0}`, addr, int(exile.Seconds())))
	if code := errno(err); code == unix.EACCES || code == unix.EPERM {
		return fmt.Errorf("the monitors refuse it (%w); give the user the cap that allows it: "+
			"ceph auth caps client.NAME mon 'profile rbd' osd 'profile rbd' (and what else it has)", err)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, status)
	}
	return l.conn.WaitForLatestOSDMap()
}

// guard is a lock of our own on a name, held while an image is made, or the
// remains of one removed: until there is a header, there is no lock of RBD's.
// A process that stalls meanwhile must not remove its successor's image when
// it goes on.
type guard struct {
	link   *link
	object string
}

const guardLock = "winery"

// guard takes the lock, shutting out whoever has it.
func (l *link) guard(name string) (*guard, error) {
	g := &guard{l, "winery_guard." + name}
	if err := l.shutOut(g.object, guardLock, func(string) bool { return true }); err != nil {
		return nil, err
	}
	taken, err := l.io.LockExclusive(g.object, guardLock, "", "making the image", 0, nil)
	if err == nil && taken != 0 {
		err = unix.EBUSY
	}
	if err != nil {
		return nil, fmt.Errorf("lock on object %s: %w", g.object, err)
	}
	return g, nil
}

// release takes the object away, and the lock with it.
func (g *guard) release() error {
	return g.link.io.Delete(g.object)
}
