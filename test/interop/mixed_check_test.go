// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"winery/internal/config"
	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
	"winery/test/harness"
)

// readAll reads every object through every writer.
func (m *mixed) readAll() {
	m.Helper()
	var ids [][32]byte
	for id := range m.objects {
		if !m.gone[id] {
			ids = append(ids, id)
		}
	}
	var group errgroup.Group
	group.SetLimit(4)
	for _, w := range m.writers() {
		for some := range slices.Chunk(ids, 20) { // Python reads them one after the other
			group.Go(func() error {
				m.next()
				contents, err := w.GetBatch(m.ctx, some)
				for i, content := range contents {
					if id := some[i]; !bytes.Equal(content, m.objects[id]) {
						m.Errorf("object %x read by %s: %d bytes, want %d", id, w.side, len(content), len(m.objects[id]))
					}
				}
				return err
			})
		}
		for id := range m.gone {
			if content, err := w.Get(m.ctx, id); !errors.Is(err, client.ErrNotFound) {
				m.Errorf("deleted object %x read by %s: %d bytes, %v", id, w.side, len(content), err)
			}
		}
	}
	m.must(group.Wait())
}

// inspect requires that every object is in its shard and nowhere else, and that
// there is nothing else. It returns how many shards have become images.
func (m *mixed) inspect() (images int) {
	m.Helper()
	indexed, err := m.Base.ListObjects(m.ctx, [32]byte{}, 2*len(m.objects))
	m.must(err)
	if want := len(m.objects) - len(m.gone); len(indexed) != want {
		m.Errorf("the index has %d objects, want %d", len(indexed), want)
	}
	locations, err := m.Base.Locate(m.ctx, indexed)
	m.must(err)
	want := map[string][][32]byte{} // by shard
	for i, id := range indexed {
		if m.objects[id] == nil || m.gone[id] {
			m.Errorf("the index has object %x, which was deleted or never added", id)
		}
		want[locations[i].Shard] = append(want[locations[i].Shard], id)
	}
	shards, err := m.Base.ListShards(m.ctx, sharedbase.ShardFilter{})
	m.must(err)
	var withTable, withImage []string
	for _, s := range shards {
		var got [][32]byte
		switch s.State {
		case sharedbase.StateStandby:
			withTable = append(withTable, s.Name)
			got = m.inTable(s.Name)
		case sharedbase.StateReadOnly:
			withImage = append(withImage, s.Name)
			got = m.inImage(s.Name)
		default:
			m.Errorf("shard %s is %s (%s)", s.Name, s.State, s.Locker)
			continue
		}
		slices.SortFunc(got, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
		if !slices.Equal(got, want[s.Name]) {
			m.Errorf("shard %s (%s) has %d objects, the index %d of it, or others", s.Name, s.State, len(got), len(want[s.Name]))
		}
	}
	slices.Sort(withTable)
	if got := strings.Fields(tables(m.ctx, m.T, m.dsn)); !slices.Equal(got, withTable) {
		m.Errorf("there are the tables of %v, want %v", got, withTable)
	}
	m.files(withImage)
	return len(withImage)
}

// inTable gives the objects of a shard's table.
func (m *mixed) inTable(name string) (got [][32]byte) {
	m.Helper()
	var all [][32]byte
	for id := range m.objects {
		all = append(all, id)
	}
	found, err := m.Base.Content(m.ctx, name, all, -1)
	m.must(err)
	for i, id := range all {
		if found[i].Size >= 0 {
			got = append(got, id)
		}
	}
	n, _, err := m.Base.TableSize(m.ctx, name)
	m.must(err)
	if int(n) != len(got) {
		m.Errorf("the table of shard %s has %d objects, %d are known", name, n, len(got))
	}
	return got
}

// inImage gives the objects of an image, which must be whole.
func (m *mixed) inImage(name string) (got [][32]byte) {
	m.Helper()
	image, err := m.Pool.Open(m.ctx, name)
	m.must(err)
	defer image.Close()
	reader, err := m.Pool.Format().Open(image, image.Size(), name)
	m.must(err)
	_, err = reader.Verify(m.ctx, nil)
	m.must(err)
	for id, err := range reader.Keys(m.ctx) {
		m.must(err)
		got = append(got, id)
	}
	return got
}

// files requires that the pool has these images, each mapped, and nothing else,
// with no trace of what was deleted. The latter proves something of a format that does
// not compress; inImage proves it of the others.
func (m *mixed) files(want []string) {
	m.Helper()
	slices.Sort(want)
	if m.pool == config.MosaicS3 {
		got, err := m.Pool.List(m.ctx)
		m.must(err)
		if !slices.Equal(got, want) {
			m.Errorf("the bucket has the images %v, want %v", got, want)
		}
		return
	}
	dir := filepath.Join(filepath.Dir(m.File), harness.PoolName)
	entries, err := os.ReadDir(dir)
	m.must(err)
	var got []string
	for _, e := range entries {
		if e.IsDir() { // of the pool's marker
			continue
		}
		got = append(got, e.Name())
		info, err := e.Info()
		m.must(err)
		if info.Mode() != 0o400 {
			m.Errorf("image %s has mode %v", e.Name(), info.Mode())
		}
		image, err := os.ReadFile(filepath.Join(dir, e.Name()))
		m.must(err)
		for id := range m.gone {
			if bytes.Contains(image, m.objects[id]) {
				m.Errorf("image %s still has the bytes of object %x, which was deleted", e.Name(), id)
			}
		}
	}
	if !slices.Equal(got, want) {
		m.Errorf("the pool has the images %v, want %v", got, want)
	}
}
