// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"errors"
	"io"
	"slices"
	"sync"
)

const (
	chunkSize = 4 << 20
	// chunksAhead is how many chunks are in flight behind the one that is read.
	chunksAhead = 3
	// chunksKept bounds the memory of an image that is read ahead: 64 MiB.
	chunksKept = 16
	// streams is how many sequences are told apart: a verification reads in several
	// places at once.
	streams = 8
)

// readAhead reads an image in large chunks, before they are asked for, where it is
// read in sequence; elsewhere it reads what is asked for.
type readAhead struct {
	*image
	fetching sync.WaitGroup

	mu     sync.Mutex
	chunks []*chunk       // last used at the end
	ends   [streams]int64 // where the last reads ended; 0: nowhere
	next   int            // of ends, to be replaced
}

// chunk is a part of the image that is read, or being read.
type chunk struct {
	off  int64
	data []byte
	err  error
	done chan struct{} // closed once data or err is there
}

func newReadAhead(i *image) *readAhead { return &readAhead{image: i} }

func (r *readAhead) Close() error {
	err := r.image.Close()
	r.fetching.Wait()
	return err
}

func (r *readAhead) ReadAt(b []byte, off int64) (n int, err error) {
	part, err := clipToSize(b, off, r.size)
	if len(part) == 0 || err != nil && !errors.Is(err, io.EOF) || !r.sequential(off, int64(len(part))) {
		return r.image.ReadAt(b, off)
	}
	for n < len(part) {
		c := r.chunk(off + int64(n))
		<-c.done
		if c.err != nil {
			return n, r.pool.fail("read", r.name, c.err)
		}
		n += copy(part[n:], c.data[off+int64(n)-c.off:])
	}
	return n, err
}

// sequential notes a read, and says whether it continues another, or reads what is
// read ahead already.
func (r *readAhead) sequential(off, length int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	stream := slices.Index(r.ends[:], off)
	found := stream >= 0 && off > 0 || slices.ContainsFunc(r.chunks, func(c *chunk) bool { return c.off == off/chunkSize*chunkSize })
	if stream < 0 || off == 0 {
		stream = r.next
		r.next = (r.next + 1) % streams
	}
	r.ends[stream] = off + length
	return found
}

// chunk returns the chunk that has the byte at off, and begins to read those that
// follow.
func (r *readAhead) chunk(off int64) *chunk {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := off / chunkSize * chunkSize
	r.begin(first)
	for ahead := range int64(chunksAhead) {
		if at := first + (ahead+1)*chunkSize; at < r.size {
			r.begin(at)
		}
	}
	return r.begin(first) // again, so that it is kept longest
}

// begin returns the chunk at off, which it begins to read if need be. It needs mu.
func (r *readAhead) begin(off int64) *chunk {
	at := slices.IndexFunc(r.chunks, func(c *chunk) bool { return c.off == off })
	if at >= 0 {
		c := r.chunks[at]
		r.chunks = append(slices.Delete(r.chunks, at, at+1), c)
		return c
	}
	c := &chunk{off: off, done: make(chan struct{})}
	r.chunks = append(r.chunks, c)
	if len(r.chunks) > chunksKept {
		r.chunks = slices.Delete(r.chunks, 0, 1)
	}
	r.fetching.Go(func() {
		defer close(c.done)
		c.data = make([]byte, min(chunkSize, r.size-off))
		if _, c.err = r.fetch(c.data, off); c.err != nil {
			r.forget(c)
		}
	})
	return c
}

// forget lets the next read of a chunk try again.
func (r *readAhead) forget(c *chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chunks = slices.DeleteFunc(r.chunks, func(other *chunk) bool { return other == c })
}
