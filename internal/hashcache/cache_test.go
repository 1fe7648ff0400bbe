// SPDX-License-Identifier: GPL-3.0-or-later

package hashcache

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"winery/internal/metrics"
	"winery/test/expect"
	"winery/test/logtest"
)

func newCache(t *testing.T, dir string, size int64) (*Cache, *logtest.Log) {
	t.Helper()
	client, err := metrics.FromEnvironment(slog.New(slog.DiscardHandler))
	expect.NoError(t, err)
	logs := new(logtest.Log)
	return New(Options{Directory: dir, Size: size, Metrics: client, Log: logs.Logger(slog.LevelDebug)}), logs
}

func put(c *Cache, shard string, head []byte) { c.Put("pool", shard, func() []byte { return head }) }

// get returns nil where the cache has nothing.
func get(t *testing.T, c *Cache, shard string) []byte {
	t.Helper()
	f := c.Get("pool", shard)
	if f == nil {
		return nil
	}
	defer f.Close()
	head, err := io.ReadAll(f)
	expect.NoError(t, err)
	return head
}

// onDisk returns the bytes of all files of the cache.
func onDisk(t *testing.T, c *Cache) (total int64) {
	t.Helper()
	files, err := c.files()
	expect.NoError(t, err)
	for _, f := range files {
		total += f.size
	}
	return total
}

func age(t *testing.T, c *Cache, shard string, by time.Duration) {
	t.Helper()
	path, err := c.path("pool", shard)
	expect.NoError(t, err)
	at := time.Now().Add(-by)
	expect.NoError(t, os.Chtimes(path, at, at))
}

func TestGetReturnsWhatWasPut(t *testing.T) {
	dir := t.TempDir()
	c, _ := newCache(t, dir, 1<<20)
	if head := get(t, c, "a"); head != nil {
		t.Errorf("an empty cache has %q", head)
	}
	put(c, "a", []byte("old"))
	put(c, "a", []byte("new"))
	put(c, "b", []byte("other"))
	again, _ := newCache(t, dir, 1<<20)
	for _, c := range []*Cache{c, again} {
		if a, b := get(t, c, "a"), get(t, c, "b"); string(a) != "new" || string(b) != "other" {
			t.Errorf("got %q and %q", a, b)
		}
	}
	var none *Cache
	put(none, "a", nil)
	if none.Get("pool", "a") != nil {
		t.Error("no cache has a head")
	}
}

// A name never leads out of the directory.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	c, _ := newCache(t, filepath.Join(dir, "cache"), 1<<20)
	for _, shard := range []string{"../x", "../../x", "a/b", "x\x00"} {
		put(c, shard, []byte("head"))
		if head := get(t, c, shard); head != nil {
			t.Errorf("shard %q has %q", shard, head)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// The size holds at every moment; what was used last stays; files of others stay.
func TestCacheIsBounded(t *testing.T) {
	const size, heads = 64 << 10, 500
	c, _ := newCache(t, t.TempDir(), size)
	expect.NoError(t, os.MkdirAll(c.dir, 0o700))
	foreign := filepath.Join(c.dir, "notes")
	expect.NoError(t, os.WriteFile(foreign, make([]byte, 2*size), 0o600))
	put(c, "used", make([]byte, 1000))
	for i := range heads {
		age(t, c, "used", 24*time.Hour)
		if get(t, c, "used") == nil {
			t.Fatalf("after %d heads the one that is used all the time was removed", i)
		}
		shard := fmt.Sprintf("shard %d", i)
		put(c, shard, make([]byte, 1000))
		age(t, c, shard, usedWithin/2)
		if total := onDisk(t, c); total > size || total != c.total {
			t.Fatalf("%d bytes on disk, %d counted, of %d", total, c.total, size)
		}
	}
	if total := onDisk(t, c); total < size/2 {
		t.Errorf("only %d bytes are used of %d", total, size)
	}
	put(c, "huge", make([]byte, size))
	if get(t, c, "huge") != nil {
		t.Error("a head of the size of the cache was kept")
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
}

// A smaller size, after a restart, removes what is too much; a rest of a process that
// died while it wrote is removed like an old head.
func TestRestartWithASmallerSize(t *testing.T) {
	dir := t.TempDir()
	c, _ := newCache(t, dir, 1<<20)
	for i := range 100 {
		put(c, fmt.Sprint(i), make([]byte, 1000))
		age(t, c, fmt.Sprint(i), time.Duration(200-i)*time.Minute)
	}
	rest := filepath.Join(c.dir, "1"+draft)
	expect.NoError(t, os.WriteFile(rest, make([]byte, 1000), 0o600))
	expect.NoError(t, os.Chtimes(rest, time.Unix(1, 0), time.Unix(1, 0)))
	small, _ := newCache(t, dir, 32<<10)
	put(small, "new", make([]byte, 1000))
	if total := onDisk(t, small); total > 32<<10 {
		t.Errorf("%d bytes on disk", total)
	}
	if get(t, small, "0") != nil || get(t, small, "99") == nil || get(t, small, "new") == nil {
		t.Error("not the oldest heads were removed")
	}
	if _, err := os.Stat(rest); err == nil {
		t.Error("the rest of a write is left")
	}
}

// Fill removes no head, and does not list the directory for each head that has no room.
func TestFill(t *testing.T) {
	const size = 64 << 10
	c, _ := newCache(t, t.TempDir(), size)
	fill := func(shard string) { c.Fill("pool", shard, func() []byte { return make([]byte, 1000) }) }
	put(c, "used", make([]byte, 1000))
	age(t, c, "used", 24*time.Hour)
	for i := range 100 {
		fill(fmt.Sprint(i))
	}
	if total := onDisk(t, c); total > size || total < size-size/share {
		t.Errorf("%d bytes are used of %d", total, size)
	}
	if get(t, c, "used") == nil || get(t, c, "0") == nil || get(t, c, "99") != nil {
		t.Error("a head that had no room was kept, or another one removed")
	}
	expect.NoError(t, os.RemoveAll(c.dir))
	if fill("a"); get(t, c, "a") != nil {
		t.Error("the directory was listed again at once")
	}
	c.full = time.Now().Add(-usedWithin)
	if fill("a"); get(t, c, "a") == nil {
		t.Error("a head was not kept where there is room again")
	}
	var none *Cache
	none.Fill("pool", "a", nil)
}

// The group has all rights, whatever the umask: the mapper may be another user than
// the writer.
func TestGroupShares(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	c, _ := newCache(t, t.TempDir(), 1<<20)
	put(c, "a", []byte("head"))
	path, err := c.path("pool", "a")
	expect.NoError(t, err)
	for path, want := range map[string]os.FileMode{c.dir: dirMode, path: fileMode} {
		info, err := os.Stat(path)
		expect.NoError(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %o, want %o", path, info.Mode().Perm(), want)
		}
	}
}

// Two processes share a directory: each has what the other wrote, and both together
// exceed the size by a sixteenth at most.
func TestSharedDirectory(t *testing.T) {
	const size = 64 << 10
	dir := t.TempDir()
	var caches []*Cache
	for range 2 {
		c, logs := newCache(t, dir, size)
		caches = append(caches, c)
		defer func() {
			if text := logs.String(); text != "" {
				t.Error(text)
			}
		}()
	}
	put(caches[0], "a", []byte("from the first"))
	if head := get(t, caches[1], "a"); string(head) != "from the first" {
		t.Errorf("got %q", head)
	}
	var running sync.WaitGroup
	for n, c := range caches {
		running.Go(func() {
			for i := range 300 {
				head := bytes.Repeat([]byte{byte(i)}, 1000)
				shard := fmt.Sprint(i % 100)
				put(c, shard, head)
				if got := get(t, caches[1-n], shard); got != nil && (len(got) != 1000 || !bytes.Equal(got, bytes.Repeat(got[:1], 1000))) {
					t.Errorf("a head of %d bytes is torn", len(got))
				}
			}
		})
	}
	running.Wait()
	if total := onDisk(t, caches[0]); total > size+size/share {
		t.Errorf("%d bytes on disk", total)
	}
}

// A disk that is full or a directory that cannot be written costs misses, one log
// record, and a count; afterwards the cache works again.
func TestUnwritableDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	expect.NoError(t, os.WriteFile(dir, nil, 0o600)) // a file where the directory should be
	c, logs := newCache(t, dir, 1<<20)
	for range 3 {
		put(c, "a", []byte("head"))
		if get(t, c, "a") != nil {
			t.Error("a head was kept in a file")
		}
	}
	logged(t, logs, "cannot cache hash functions; reads are slower until the cache works again", 1)
	expect.NoError(t, os.Remove(dir))
	put(c, "huge", make([]byte, 1<<20))
	logged(t, logs, "hash functions are cached again", 0)
	put(c, "a", []byte("head"))
	if string(get(t, c, "a")) != "head" {
		t.Error("the cache does not work again")
	}
	logged(t, logs, "hash functions are cached again", 1)
	expect.NoError(t, os.RemoveAll(dir))
	for range 2 {
		put(c, "b", []byte("head"))
	}
	if string(get(t, c, "b")) != "head" {
		t.Error("a directory that was removed was not made again")
	}
}

// TestFullDisk limits the size of a file: a write ends as on a full disk.
func TestFullDisk(t *testing.T) {
	const child = "WINERY_TEST_FULL_DISK"
	if os.Getenv(child) == "" {
		// The limit is one of the process, and go test has this one log to a file what it opens.
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	c, logs := newCache(t, t.TempDir(), 1<<20)
	put(c, "small", []byte("head"))
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	expect.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	expect.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100, Max: before.Max}))
	put(c, "a", make([]byte, 1000))
	expect.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	if get(t, c, "a") != nil || string(get(t, c, "small")) != "head" {
		t.Error("a cut off head was kept, or another one lost")
	}
	logged(t, logs, "cannot cache hash functions; reads are slower until the cache works again", 1)
	if files, err := c.files(); err != nil || len(files) != 1 {
		t.Errorf("left on disk: %v, %v", files, err)
	}
}

func logged(t *testing.T, logs *logtest.Log, message string, times int) {
	t.Helper()
	if lines := logs.Lines(message); len(lines) != times {
		t.Errorf("%q is logged %d times instead of %d", message, len(lines), times)
	}
}

// TestPlantedFiles: what is no regular file is neither waited for nor read, and is replaced:
// whoever is in the group of the directory can put anything there.
func TestPlantedFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	expect.NoError(t, os.WriteFile(outside, []byte("head"), 0o600))
	for name, plant := range map[string]func(path string) error{
		"pipe": func(path string) error { return syscall.Mkfifo(path, 0o660) },
		"link": func(path string) error { return os.Symlink(outside, path) },
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newCache(t, t.TempDir(), 1<<20)
			put(c, "other", []byte("head"))
			path, err := c.path("pool", "a")
			expect.NoError(t, err)
			expect.NoError(t, plant(path))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if f := c.Get("pool", "a"); f != nil {
					t.Errorf("got %v, %v", f, f.Close())
				}
				c.Fill("pool", "a", func() []byte { return []byte("head") })
			}()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("the cache waits for what is there")
			}
			if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
				t.Errorf("it was not replaced: %v, %v", info, err)
			}
			if head := get(t, c, "a"); string(head) != "head" {
				t.Errorf("got %q", head)
			}
		})
	}
	dir := t.TempDir()
	c, logs := newCache(t, dir, 1<<20)
	elsewhere := t.TempDir()
	expect.NoError(t, os.Symlink(elsewhere, c.dir))
	put(c, "a", []byte("head"))
	if files, err := os.ReadDir(elsewhere); err != nil || len(files) != 0 {
		t.Errorf("where a link in place of the directory leads, there are %v, %v", files, err)
	}
	logged(t, logs, "cannot cache hash functions; reads are slower until the cache works again", 1)
}
