// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/client"
)

const (
	clients   = 8       // connections at work at once
	batchSize = 1 << 20 // bytes of content after which a batch is sent
)

// Source is a tree of files to store: its distinct contents by their ids.
type Source struct {
	Root  string
	Files int                 // regular files, equal ones counted each time
	Bytes int64               // of the distinct contents
	Paths map[[32]byte]string // one file for each distinct content
}

// ReadSource hashes every regular file below root.
func ReadSource(root string) (*Source, error) {
	s := &Source{Root: root, Paths: map[[32]byte]string{}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s.Files++
		id := sha256.Sum256(content)
		if _, known := s.Paths[id]; !known {
			s.Paths[id] = path
			s.Bytes += int64(len(content))
		}
		return nil
	})
	return s, err
}

// Rate is work done over a time.
type Rate struct {
	Objects int
	Bytes   int64
	Took    time.Duration
}

func (r Rate) String() string {
	s := r.Took.Seconds()
	return fmt.Sprintf("%.0f objects/s, %.1f MB/s", float64(r.Objects)/s, float64(r.Bytes)/s/1e6)
}

// Store sends every content to the writer, in batches over several connections.
// progress is called with the bytes of each batch.
func (s *Source) Store(ctx context.Context, c *client.Client, progress func(bytes int)) (Rate, error) {
	began := time.Now()
	var added atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	send := func(batch []rpc.Object, size int) {
		g.Go(func() error {
			objects, _, err := c.AddBatch(ctx, batch)
			added.Add(int64(objects))
			progress(size)
			return err
		})
	}
	var batch []rpc.Object
	size := 0
	for id, path := range s.Paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return Rate{}, err
		}
		batch, size = append(batch, rpc.Object{ID: id, Content: content}), size+len(content)
		if size >= batchSize {
			send(batch, size)
			batch, size = nil, 0
		}
	}
	send(batch, size)
	if err := g.Wait(); err != nil {
		return Rate{}, err
	}
	if int(added.Load()) != len(s.Paths) {
		return Rate{}, fmt.Errorf("%d of %d objects were new to an empty winery", added.Load(), len(s.Paths))
	}
	return Rate{len(s.Paths), s.Bytes, time.Since(began)}, nil
}

// Compare reads every content back over HTTP and compares it with its file,
// but for those in gone, which must not be there.
func (s *Source) Compare(ctx context.Context, c *client.Client, gone map[[32]byte]bool, progress func(bytes int)) (Rate, error) {
	began := time.Now()
	var read atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	for id, path := range s.Paths {
		g.Go(func() error {
			got, err := c.Get(ctx, id)
			if gone[id] {
				return mustBeGone(id, err)
			}
			if err != nil {
				return fmt.Errorf("%s (%x): %w", path, id, err)
			}
			want, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return fmt.Errorf("%s (%x): %d bytes came back that are not its %d", path, id, len(got), len(want))
			}
			read.Add(int64(len(got)))
			progress(len(got))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return Rate{}, err
	}
	return Rate{len(s.Paths) - len(gone), read.Load(), time.Since(began)}, nil
}
