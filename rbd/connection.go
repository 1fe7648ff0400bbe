// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"
)

// errClosed: the pool was used after Close.
var errClosed = errors.New("the pool is closed")

// options are set on every connection, over what the ceph.conf says.
var options = map[string]string{
	// Without these an absent monitor is waited for during minutes, or forever.
	"client_mount_timeout":     "30",
	"rados_mon_op_timeout":     "30",
	"rbd_cache":                "false", // verification must read what is stored; a writer has its own large buffers
	"rados_osd_op_timeout":     "0",     // a write that timed out may still land
	"rbd_skip_partial_discard": "false", // wiping leaves nothing, also in an image's last, shorter object
	// Not rbd_blocklist_expire_seconds: with it Ceph 16 refuses (EINVAL) to take
	// over a dead writer's lock. So librbd is not left to do that: see
	// evictLockHolder.
}

// connection is a pool's way to Ceph, dialled by the first that needs it; all
// that come meanwhile share the outcome. A failure is forgotten, so that the
// next call dials again. Its methods may be called concurrently.
type connection struct {
	pool string
	from location

	mu      sync.Mutex
	current *dialling
	handles int // open images, and calls in flight
	closed  bool
}

// link is a connection that is up: one client of Ceph.
type link struct {
	conn *rados.Conn
	io   *rados.IOContext // of the pool of the images

	mu   sync.Mutex
	data map[int64]*rados.IOContext // of the pools with the images' data, by their ids
}

// dataPool returns what reads objects of a pool, which the link keeps.
func (l *link) dataPool(id int64) (*rados.IOContext, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if io := l.data[id]; io != nil {
		return io, nil
	}
	name, err := l.conn.GetPoolByID(id)
	if err != nil {
		return nil, err
	}
	io, err := l.conn.OpenIOContext(name)
	if err == nil {
		l.data[id] = io
	}
	return io, err
}

// close ends the connection.
func (l *link) close() {
	for _, io := range l.data {
		io.Destroy()
	}
	l.io.Destroy()
	l.conn.Shutdown()
}

// dialling is one attempt to connect. Its other fields are set when done is
// closed.
type dialling struct {
	done chan struct{}
	link *link
	err  error
}

// get returns the link, and connects if necessary. It waits no longer than ctx; the
// dialling then continues for later callers. Until the caller calls count(-1), its call is
// in flight, and the link is not closed.
func (c *connection) get(ctx context.Context) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, fmt.Errorf("pool %s: %w", c.pool, errClosed)
	}
	d := c.current
	if d == nil {
		d = &dialling{done: make(chan struct{})}
		c.current = d
		go c.dial(d)
	}
	c.mu.Unlock()

	select {
	case <-d.done:
		if d.err != nil {
			return nil, d.err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed {
			return nil, fmt.Errorf("pool %s: %w", c.pool, errClosed)
		}
		c.handles++
		return d.link, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *connection) dial(d *dialling) {
	d.link, d.err = connect(c.pool, c.from)
	if d.err != nil {
		d.err = fmt.Errorf("pool %s: %w", c.pool, d.err)
		c.mu.Lock()
		c.current = nil
		c.mu.Unlock()
	}
	close(d.done)
}

func connect(pool string, from location) (*link, error) {
	conn, err := rados.NewConnWithClusterAndUser(from.cluster, from.user)
	if err != nil {
		return nil, err
	}
	io, err := from.connect(conn, pool)
	if err != nil {
		// A connection that never came up is freed with conn by the garbage
		// collector; Shutdown does nothing for it.
		conn.Shutdown()
		return nil, err
	}
	return &link{conn: conn, io: io, data: map[int64]*rados.IOContext{}}, nil
}

// connect configures and connects conn.
func (l location) connect(conn *rados.Conn, pool string) (*rados.IOContext, error) {
	if err := l.configure(conn); err != nil {
		return nil, err
	}
	if err := conn.Connect(); err != nil {
		return nil, l.connectError(err)
	}
	io, err := conn.OpenIOContext(pool)
	if errno(err) == unix.ENOENT {
		return nil, missingPool(pool, err)
	}
	if err != nil {
		return nil, err
	}
	// Otherwise a full pool, or one at its quota, makes writes and even the
	// opening of images wait until there is space.
	if err := io.SetPoolFullTry(); err != nil {
		io.Destroy()
		return nil, err
	}
	return io, nil
}

// count adds to the number of images that are open, and calls in flight.
func (c *connection) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handles += n
}

func (c *connection) inUse() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handles > 0
}

// closePatience is how long close waits for calls whose callers no longer wait, as those
// of a role that is stopped while it checks its pools.
const closePatience = 3 * time.Second

// close disconnects, unless images are still open, or calls in flight, after
// closePatience. A second close does nothing.
func (c *connection) close() error {
	for began := time.Now(); c.inUse() && time.Since(began) < closePatience; {
		time.Sleep(10 * time.Millisecond)
	}
	c.mu.Lock()
	if c.handles > 0 {
		defer c.mu.Unlock()
		return fmt.Errorf("%d images are still open", c.handles)
	}
	c.closed = true
	d := c.current
	c.current = nil
	c.mu.Unlock()
	if d == nil {
		return nil
	}
	<-d.done
	if d.err == nil {
		d.link.close()
	}
	return nil
}
