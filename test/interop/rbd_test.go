// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/fleettest"
	"winery/test/harness"
)

// onRBD is one database with two Wineries: Go Winery has its images in Ceph,
// through librbd, and Python Winery has them as files, because it reads RBD only
// through the kernel. `rbd import` and `rbd export` copy images from one to the
// other.
type onRBD struct {
	*harness.Fleet
	ceph  cephtest.Pool
	files string // Python's base_directory
}

// TestRBD: each Winery reads images on RBD that the other wrote, and Go Winery
// erases in them and moves them.
func TestRBD(t *testing.T) {
	ctx := fleettest.Within(t)
	o := fleettest.Options(t)
	w := onRBD{ceph: cephtest.New(t), files: t.TempDir()}
	o.CephConf, o.CephPool, o.ShardMaxSize = w.ceph.Conf, w.ceph.Pool, shardMaxSize
	python(ctx, t, "testdata/winery.py", "init", o.DSN)
	w.Fleet = fleettest.New(t, o)
	theirs := w.python(t)
	ours := inGo{w.Fleet}

	packedByPython, packedByUs := newTree(t, 0), newTree(t, 1)
	theirs.add(ctx, t, packedByPython)
	theirs.pack(ctx, t)
	imported := w.importImages(ctx, t)
	theirs.add(ctx, t, packedByUs)
	ours.pack(ctx, t)
	ours.clean(ctx, t)
	gone := map[[32]byte]bool{}
	for _, tree := range []*harness.Source{packedByPython, packedByUs} {
		maps.Copy(gone, some(tree, 10, gone))
	}
	theirs.delete(ctx, t, gone)
	fleettest.RunToEnd(ctx, t, w.Fleet, harness.Cleaner)

	objects := 0
	for _, tree := range []*harness.Source{packedByPython, packedByUs} {
		objects += ours.compare(ctx, t, tree, gone)
	}
	w.moveOne(ctx, t, imported[0])
	exported := w.exportImages(ctx, t)
	for _, tree := range []*harness.Source{packedByPython, packedByUs} {
		objects -= theirs.compare(ctx, t, tree, gone)
	}
	if objects != 0 {
		t.Errorf("Go has compared %d objects more than Python", objects)
	}
	inImages := theirs.number(ctx, t, "erased", list(gone))
	paired(t, "RBD: %d images by Python, imported → Go's mapper, cleaner, reader; these and %d of Go, 1 of them moved and the others exported → Python's reader: "+
		"%d objects, %d deleted by Python and erased by Go", len(imported), exported+1-len(imported), inImages, len(gone))
}

// python gives Python's Winery on the same database.
func (w onRBD) python(t *testing.T) inPython {
	t.Helper()
	o, _ := w.For(harness.Python)
	config := fmt.Sprintf(`objstorage:
  cls: winery
  database: {db: %q}
  shards_pools:
    - {type: directory, pool_name: %s, base_directory: %q, shard_max_size: %d, use_permissions: false}
    - {type: directory, pool_name: moved, base_directory: %[3]q, shard_max_size: %[4]d, use_permissions: false}
  shards_active_pool: %[2]s
  allow_delete: true
`, o.DSN, w.ceph.Pool, w.files, shardMaxSize)
	fleet := *w.Fleet
	fleet.File = filepath.Join(t.TempDir(), "python.yml")
	if err := os.WriteFile(fleet.File, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, pool := range []string{w.ceph.Pool, "moved"} {
		if err := os.Mkdir(filepath.Join(w.files, pool), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return inPython{&fleet}
}

// importImages moves Python's images into Ceph, every other one without the feature
// exclusive-lock, and returns their names.
func (w onRBD) importImages(ctx context.Context, t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.files, w.ceph.Pool))
	if err != nil || len(entries) < 2 {
		t.Fatalf("Python packed %d images, %v", len(entries), err)
	}
	entries = slices.DeleteFunc(entries, fs.DirEntry.IsDir) // the folder of the pool's marker
	for i, e := range entries {
		path := filepath.Join(w.files, w.ceph.Pool, e.Name())
		features := []string{"layering", "layering,exclusive-lock,object-map,fast-diff"}[i%2]
		w.rbd(ctx, t, "import", "--data-pool", w.ceph.DataPool, "--image-feature", features, path, w.ceph.Pool+"/"+e.Name())
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name())
	}
	return names
}

// exportImages copies all images of Ceph to where Python finds them.
func (w onRBD) exportImages(ctx context.Context, t *testing.T) (images int) {
	t.Helper()
	shards, err := w.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StateReadOnly}, Pool: w.ceph.Pool})
	if err != nil || len(shards) == 0 {
		t.Fatalf("%d shards have images on RBD, %v", len(shards), err)
	}
	for _, s := range shards {
		w.rbd(ctx, t, "export", w.ceph.Pool+"/"+s.Name, filepath.Join(w.files, w.ceph.Pool, s.Name))
	}
	return len(shards)
}

// moveOne has wineryctl move an image that Python wrote from RBD to a directory.
func (w onRBD) moveOne(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(w.File)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(text), "  shards_pools:\n", fmt.Sprintf(
		"  shards_pools:\n    - {type: directory, pool_name: moved, base_directory: %q, shard_max_size: %d}\n", w.files, shardMaxSize), 1)
	file := filepath.Join(t.TempDir(), "both.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := w.Ctl(ctx, "--config", file, "shards", "migrate", w.ceph.Pool, "moved", "--image", name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func (w onRBD) rbd(ctx context.Context, t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "rbd", append([]string{"--conf", w.ceph.Conf, "--no-progress"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rbd %v: %v\n%s", args, err, out)
	}
}
