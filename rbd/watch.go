// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"
)

// Every client that has an image open for writing, or mapped writable, watches
// its header, and loses its watch half a minute after its death.
const (
	watchPoll   = time.Second
	watchLimit  = 35 * time.Second // after which Ceph has dropped the watch of a dead client
	answerLimit = 5 * time.Second
)

// kernelCookies are those of the kernels' watches, and librbd's are smaller.
const kernelCookies = 0xffff_0000_0000_0000

// alone requires that no other client has the image open for writing, or mapped
// writable: exclusive-lock keeps it from writing only as long as this one has
// the lock. It waits for others to go, no longer than patience.
func (h *handle) alone(ctx context.Context, patience time.Duration) error {
	for end := time.Now().Add(patience); ; {
		watchers, err := h.image.ListWatchers()
		if err != nil {
			return err
		}
		var others []string
		for _, w := range watchers {
			if clientName(w.Id) != h.ceph.client() {
				others = append(others, describe(w))
			}
		}
		if len(others) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the image can be written to by %s; end that process, or unmap the image on that host "+
				"(`rbd device unmap /dev/rbd/%s/%s`): %w", strings.Join(others, " and "), h.pool.Name(), h.name, unix.EBUSY)
		}
		if err := sleep(ctx, watchPoll); err != nil {
			return err
		}
	}
}

func clientName(id int64) string { return fmt.Sprintf("client.%d", id) }

// describe names a watcher: process or kernel, address, client.
func describe(w rbd.ImageWatcher) string {
	what := "a process"
	if w.Cookie >= kernelCookies {
		what = "a kernel that has mapped the image"
	}
	return fmt.Sprintf("%s at %s (%s)", what, w.Addr, clientName(w.Id))
}

// watches reports whether a client watches the image.
func (l *link) watches(image *rbd.Image, client string) (bool, error) {
	watchers, err := image.ListWatchers()
	return slices.ContainsFunc(watchers, func(w rbd.ImageWatcher) bool { return clientName(w.Id) == client }), err
}

// ping is a message for an image's watchers that none of them knows: librbd and
// kernels acknowledge such a message and do nothing. It has a version, the lowest version
// that can read it, a length of 4, and a number that no operation has.
var ping = []byte{1, 1, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}

// answers reports whether a client that watches the object acknowledges a ping.
func (l *link) answers(object, client string) (bool, error) {
	acks, silent, err := l.io.NotifyWithTimeout(object, ping, answerLimit)
	if len(silent) > 0 {
		err = nil // it is ETIMEDOUT
	}
	return slices.ContainsFunc(acks, func(a rados.NotifyAck) bool { return clientName(int64(a.NotifierID)) == client }), err
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
