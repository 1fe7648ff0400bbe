// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"

	"winery/format"
)

const (
	// aheadBytes and aheadObjects bound what is being compressed at a time.
	aheadBytes   = 4 << 20
	aheadObjects = 256
	// keptBuffer is the size up to which a buffer is used again.
	keptBuffer = 64 << 10
)

// compressor compresses contents on several CPUs, and returns the frames in order. It
// is for one goroutine.
type compressor struct {
	encoders chan *encoder
	running  sync.WaitGroup
	jobs     []*job // in the order in which they were added
	bytes    int    // of their contents
	free     []*job
}

// job is an object that is being compressed.
type job struct {
	id       format.ObjID
	content  []byte
	frame    []byte
	finished chan struct{}
}

func newCompressor(level zstd.EncoderLevel, dictionary []byte) (*compressor, error) {
	n := min(4, runtime.GOMAXPROCS(0))
	c := &compressor{encoders: make(chan *encoder, n)}
	for range n {
		e, err := newEncoder(level, dictionary)
		if err != nil {
			return nil, err
		}
		c.encoders <- e
	}
	return c, nil
}

// add reads a content of up to inMemory bytes and starts to compress it.
func (c *compressor) add(id format.ObjID, size int64, content io.Reader) error {
	j := &job{}
	if n := len(c.free); n > 0 {
		j, c.free = c.free[n-1], c.free[:n-1]
	}
	if int64(cap(j.content)) < size {
		j.content = make([]byte, size)
	}
	j.id, j.content, j.finished = id, j.content[:size], make(chan struct{})
	if _, err := io.ReadFull(content, j.content); err != nil {
		return err
	}
	c.jobs = append(c.jobs, j)
	c.bytes += len(j.content)
	c.running.Go(func() {
		e := <-c.encoders
		j.frame = e.encode(j.content, j.frame[:0])
		c.encoders <- e
		close(j.finished)
	})
	return nil
}

func (c *compressor) any() bool { return len(c.jobs) > 0 }

// full reports whether the next frame should be taken.
func (c *compressor) full() bool { return c.bytes > aheadBytes || len(c.jobs) > aheadObjects }

// next waits for the frame of the object that was added first.
func (c *compressor) next() *job {
	j := c.jobs[0]
	<-j.finished
	c.jobs = c.jobs[1:]
	c.bytes -= len(j.content)
	return j
}

// done takes back what next returned.
func (c *compressor) done(j *job) {
	if cap(j.content) <= keptBuffer {
		c.free = append(c.free, j)
	}
}

// stream writes the frame of a larger content.
func (c *compressor) stream(to io.Writer, content io.Reader, size int64) error {
	e := <-c.encoders
	defer func() { c.encoders <- e }()
	return e.stream(to, content, size)
}
