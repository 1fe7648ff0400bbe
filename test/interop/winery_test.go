// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"winery/test/fleettest"
	"winery/test/harness"
)

// winery is all roles of one language, at work on the database and the pool of
// a fleet.
type winery interface {
	add(ctx context.Context, t *testing.T, tree *harness.Source)
	delete(ctx context.Context, t *testing.T, ids map[[32]byte]bool)
	pack(ctx context.Context, t *testing.T)
	clean(ctx context.Context, t *testing.T) // maps, drops tables, erases what was deleted
	compare(ctx context.Context, t *testing.T, tree *harness.Source, gone map[[32]byte]bool) (compared int)
}

type inGo struct{ *harness.Fleet }

// serve runs a writer for as long as do takes; it leaves no shard locked.
func (w inGo) serve(ctx context.Context, t *testing.T, do func() error) {
	t.Helper()
	p, err := w.StartWriter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := do(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
}

func (w inGo) add(ctx context.Context, t *testing.T, tree *harness.Source) {
	w.serve(ctx, t, func() error {
		_, err := tree.Store(ctx, w.Client, func(int) {})
		return err
	})
}

func (w inGo) delete(ctx context.Context, t *testing.T, ids map[[32]byte]bool) {
	w.serve(ctx, t, func() error {
		for id := range ids {
			if err := w.Client.Delete(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w inGo) pack(ctx context.Context, t *testing.T) {
	fleettest.RunToEnd(ctx, t, w.Fleet, harness.Packer)
}

func (w inGo) clean(ctx context.Context, t *testing.T) {
	fleettest.RunToEnd(ctx, t, w.Fleet, harness.Mapper)
	fleettest.RunToEnd(ctx, t, w.Fleet, harness.Cleaner)
}

func (w inGo) compare(ctx context.Context, t *testing.T, tree *harness.Source, gone map[[32]byte]bool) (compared int) {
	t.Helper()
	here := map[[32]byte]bool{}
	for id := range tree.Paths {
		if gone[id] {
			here[id] = true
		}
	}
	w.serve(ctx, t, func() error {
		rate, err := tree.Compare(ctx, w.Client, here, func(int) {})
		compared = rate.Objects
		return err
	})
	return compared
}

// inPython runs the object storage of the Python Winery in testdata/winery.py,
// and its daemons by its commands where they end by themselves.
type inPython struct{ *harness.Fleet }

func (w inPython) command(ctx context.Context, t *testing.T, args ...string) (printed string) {
	t.Helper()
	swh := []string{"-c", "from swh.core.cli import main; main()", "--config-file", w.File, "objstorage", "winery"}
	return python(ctx, t, append(swh, args...)...)
}

func (w inPython) number(ctx context.Context, t *testing.T, command string, args ...string) int {
	t.Helper()
	out := python(ctx, t, append([]string{"testdata/winery.py", command, w.File}, args...)...)
	n, err := strconv.Atoi(out)
	if err != nil {
		t.Fatalf("winery.py %s says %q", command, out)
	}
	return n
}

func (w inPython) add(ctx context.Context, t *testing.T, tree *harness.Source) {
	t.Helper()
	if n := w.number(ctx, t, "add", tree.Root); n != len(tree.Paths) {
		t.Fatalf("%d of %d objects were new", n, len(tree.Paths))
	}
}

func (w inPython) delete(ctx context.Context, t *testing.T, ids map[[32]byte]bool) {
	t.Helper()
	python(ctx, t, "testdata/winery.py", "delete", w.File, list(ids))
}

func (w inPython) pack(ctx context.Context, t *testing.T) {
	t.Helper()
	w.command(ctx, t, "packer", "--stop-instead-of-waiting")
}

func (w inPython) clean(ctx context.Context, t *testing.T) {
	t.Helper()
	// Not by its command: told to stop instead of waiting it ends before the
	// second round, in which it records images that the packer left mapped.
	python(ctx, t, "testdata/winery.py", "map", w.File)
	w.command(ctx, t, "rw-shard-cleaner", "--stop-instead-of-waiting")
	w.command(ctx, t, "clean-deleted-objects")
}

func (w inPython) compare(ctx context.Context, t *testing.T, tree *harness.Source, gone map[[32]byte]bool) int {
	t.Helper()
	return w.number(ctx, t, "compare", list(gone), tree.Root)
}

// list writes ids as winery.py takes them.
func list(ids map[[32]byte]bool) string {
	var hexes []string
	for id := range ids {
		hexes = append(hexes, hex.EncodeToString(id[:]))
	}
	return strings.Join(hexes, ",")
}
