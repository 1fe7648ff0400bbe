// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"
)

// blocklistTTL is for how long a fenced process stays blocklisted. One that was
// stopped for longer than that is stopped by the database alone.
const blocklistTTL = 7 * 24 * time.Hour

// errByHand: librbd would wait for such a lock without end.
var errByHand = fmt.Errorf("the image has a manual lock (see `rbd lock ls`): %w", unix.EBUSY)

// evictLockHolder clears the way to an image's exclusive lock. With force it
// fences the process that has it; without, only a client that is dead. librbd
// would do that, too, but would shut it out for an hour only.
//
// A client that died, or was stopped, counts as alive as long as Ceph has its
// watch, half a minute; evictLockHolder waits until then.
func (l *link) evictLockHolder(ctx context.Context, image *rbd.Image, force bool) error {
	for {
		header, holder, err := l.imageHolder(image)
		if err != nil || holder == (locker{}) || holder.client == l.client() {
			return err
		}
		of := ownerOf(holder.cookie)
		if of == byHand {
			return errByHand
		}
		watches, err := l.watches(image, holder.client)
		if err != nil {
			return err
		}
		if !watches || of == aProcess && force {
			return l.fence(header, imageLock, holder)
		}
		answers, err := l.answers(header, holder.client)
		switch {
		case err != nil:
			return err
		case answers && of == aKernel:
			return nil // it gives the lock when librbd asks for it
		case answers:
			return fmt.Errorf("client %s at %s holds the exclusive lock: %w", holder.client, holder.addr, unix.EBUSY)
		}
		if err := sleep(ctx, watchPoll); err != nil {
			return err
		}
	}
}

// stillHas asks Ceph whether an image's exclusive lock is still this link's.
func (l *link) stillHas(image *rbd.Image) error {
	_, holder, err := l.imageHolder(image)
	if err == nil && holder.client != l.client() {
		err = fmt.Errorf("another client has taken the exclusive lock: %w", unix.ESHUTDOWN)
	}
	return err
}

// imageLock is librbd's name of the exclusive lock, on the image's header.
const imageLock = "rbd_lock"

// imageHolder returns the holder of an image's exclusive lock, as holder does.
func (l *link) imageHolder(image *rbd.Image) (header string, holder locker, err error) {
	id, err := image.GetId()
	if err != nil {
		return "", locker{}, err
	}
	header = "rbd_header." + id
	holder, err = l.holder(header, imageLock)
	return header, holder, err
}

// client is this link's name in Ceph.
func (l *link) client() string { return fmt.Sprintf("client.%d", l.conn.GetInstanceID()) }

// owner is the kind of an exclusive lock's owner.
type owner int

const (
	aProcess owner = iota // through librbd
	aKernel               // its client is the whole host's, with all that is mapped there, and not to be fenced while it lives
	byHand                // `rbd lock add`
)

// ownerOf derives the owner from the cookie, which is that of the owner's watch.
// librbd's watches are addresses in memory, and Linux counts from beyond those.
func ownerOf(cookie string) owner {
	watch, auto := strings.CutPrefix(cookie, "auto ")
	switch n, err := strconv.ParseUint(watch, 10, 64); {
	case !auto || err != nil:
		return byHand
	case n >= kernelCookies:
		return aKernel
	default:
		return aProcess
	}
}

// locker is the holder of a lock. Its client is that of one link.
type locker struct{ client, cookie, addr string }

// holder returns the holder of an exclusive lock on an object, or the zero locker
// if it is not locked.
func (l *link) holder(object, lock string) (locker, error) {
	held, err := l.io.ListLockers(object, lock)
	if errno(err) == unix.ENOENT || err == nil && len(held.Clients) == 0 {
		return locker{}, nil
	}
	if err != nil {
		return locker{}, err
	}
	return locker{held.Clients[0], held.Cookies[0], held.Addrs[0]}, nil
}

// fence has a lock's holder blocklisted and then takes the lock from it: in
// that order, so that it cannot write for a moment without the lock. The lock
// that this very link has it keeps.
func (l *link) fence(object, lock string, holder locker) error {
	if holder.client == l.client() {
		return nil
	}
	if err := l.blocklist(holder.addr); err != nil {
		return fmt.Errorf("adding client %s at %s to the blocklist: %w", holder.client, holder.addr, err)
	}
	_, err := l.io.BreakLock(object, lock, holder.client, holder.cookie)
	return err
}

// blocklist blocks a client in the whole Ceph cluster. From then on each OSD
// learns of the entry with our next request, before it answers that request.
func (l *link) blocklist(addr string) error {
	// The monitors want a number with a point, which package json does not write.
	_, status, err := l.conn.MonCommand(fmt.Appendf(nil,
		`{"prefix": "osd blocklist", "blocklistop": "add", "addr": %q, "expire": %d.0}`, addr, int(blocklistTTL.Seconds())))
	if code := errno(err); code == unix.EACCES || code == unix.EPERM {
		return fmt.Errorf("the monitors refuse to change the blocklist, which needs the cap mon 'profile rbd': %w", err)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, status)
	}
	return l.conn.WaitForLatestOSDMap()
}

// guard is a separate lock on a name, held while an image is created, or one or its
// remains are removed: RBD has no lock until the image has a header, and librbd
// removes no image whose lock another handle holds. A process that stalls meanwhile
// must not remove its successor's image when it continues.
type guard struct {
	link   *link
	object string
}

const guardLock = "winery"

// guard takes the lock, and blocklists its previous holder.
func (l *link) guard(name string) (*guard, error) {
	g := &guard{l, "winery_guard." + name}
	holder, err := l.holder(g.object, guardLock)
	if err == nil && holder != (locker{}) {
		err = l.fence(g.object, guardLock, holder)
	}
	taken := 0
	if err == nil {
		taken, err = l.io.LockExclusive(g.object, guardLock, "", "making or removing the image", 0, nil)
	}
	if err == nil && taken != 0 {
		err = unix.EBUSY
	}
	if err != nil {
		return nil, fmt.Errorf("lock on object %s: %w", g.object, err)
	}
	return g, nil
}

// release removes the object, and the lock with it.
func (g *guard) release() error {
	return g.link.io.Delete(g.object)
}
