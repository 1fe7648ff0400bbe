// SPDX-License-Identifier: GPL-3.0-or-later

package metrics_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"winery/internal/config"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/metrics"
	"winery/internal/packer"
	"winery/internal/storage"
	"winery/internal/writer"
	"winery/sharedbase"
	"winery/test/pgtest"
)

const shardMaxSize = 100_000

// winery is a server under test, with a packer.
type winery struct {
	url       string
	directory string // of its images
	pack      func() // packs one full shard
	stop      func() // ends it, all metrics sent
}

// TestAsPython has both Wineries do the same, and compares what they send.
func TestAsPython(t *testing.T) {
	fromPython := measure(t, python)
	fromOurs := measure(t, ours)
	for _, name := range names(fromPython) {
		// A table needs no opening here; Python opens one at its first use.
		opened := strings.HasSuffix(name, "seconds|ms|shard_type:rw") || strings.HasSuffix(name, "cache_status:miss,shard_type:rw")
		value, sent := fromOurs[name]
		if sent == opened {
			t.Errorf("Python sends %s, and Go: %v", name, sent)
		}
		if sent && !strings.Contains(name, "|ms|") && !strings.Contains(name, "shard_type:rw") && value != fromPython[name] {
			t.Errorf("%s: Python sends %v, Go %v", name, fromPython[name], value)
		}
	}
	for _, name := range names(fromOurs) {
		if _, ok := fromPython[name]; !ok {
			t.Errorf("only Go sends %s", name)
		}
	}
	if len(fromPython) < 25 {
		t.Errorf("Python sent only %v", names(fromPython))
	}
	t.Logf("interop: metrics: Python sends %d series, ours the same %d", len(fromPython), len(fromOurs))
}

// measure returns the metrics of a Winery that is used in every way.
func measure(t *testing.T, start func(t *testing.T, dsn, dir string) winery) map[string]float64 {
	t.Helper()
	r := listen(t)
	dsn := pgtest.New(t)
	base, err := sharedbase.New(dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	if _, err := base.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := start(t, dsn, t.TempDir())
	use(t, w)
	w.stop()
	return r.got()
}

func use(t *testing.T, w winery) {
	t.Helper()
	c, err := client.New(w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	key := func(content []byte) [32]byte { return sha256.Sum256(content) }
	object := func(content []byte) client.Object { return client.Object{ID: key(content), Content: content} }
	small, missing := []byte("small"), key([]byte("missing"))
	first, second := bytes.Repeat([]byte("1"), shardMaxSize), bytes.Repeat([]byte("2"), shardMaxSize)
	check := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	get := func(content []byte) {
		t.Helper()
		got, err := c.Get(ctx, key(content))
		check(err, nil)
		if !bytes.Equal(got, content) {
			t.Fatalf("got %q", got)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	check(err, nil)
	response, err := http.DefaultClient.Do(request)
	check(err, nil)
	check(response.Body.Close(), nil)
	http.DefaultClient.CloseIdleConnections()
	_, err = c.Contains(ctx, missing)
	check(err, nil)
	check(c.Add(ctx, key(small), small), nil)
	get(small)
	_, err = c.Get(ctx, missing)
	check(err, client.ErrNotFound)
	_, _, err = c.AddBatch(ctx, []client.Object{object([]byte("a")), object([]byte("b"))})
	check(err, nil)
	_, err = c.GetBatch(ctx, [][32]byte{key([]byte("a")), key([]byte("b"))})
	check(err, nil)
	check(c.Delete(ctx, key(small)), client.ErrForbidden)

	check(c.Add(ctx, key(first), first), nil)
	w.pack()
	get(small) // opens the image
	get(first)
	packed := images(t, w)
	check(c.Add(ctx, key(second), second), nil)
	w.pack()
	for _, image := range images(t, w) {
		if !slices.Contains(packed, image) {
			if err := os.Chmod(image, 0o600); err != nil { // as if it were still written: not mapped read-only
				t.Fatal(err)
			}
		}
	}
	get(second)
}

func images(t *testing.T, w winery) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.directory, "shards", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// python starts the Python Winery.
func python(t *testing.T, dsn, dir string) winery {
	t.Helper()
	interpreter := os.Getenv("WINERY_PYTHON")
	if interpreter == "" {
		t.Fatal("WINERY_PYTHON must name a Python interpreter that has swh.objstorage: `make test` sets it")
	}
	cmd := exec.CommandContext(t.Context(), interpreter, "testdata/winery.py", dsn, dir, strconv.Itoa(shardMaxSize))
	var log bytes.Buffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line := func() string {
		t.Helper()
		line, err := lines.ReadString('\n')
		if err != nil {
			_ = cmd.Wait()
			t.Fatalf("%v: %s", err, log.String())
		}
		return strings.TrimSpace(line)
	}
	return winery{
		url: line(), directory: dir,
		pack: func() {
			t.Helper()
			if _, err := io.WriteString(in, "pack\n"); err != nil {
				t.Fatal(err)
			}
			line()
		},
		stop: func() {
			t.Helper()
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, log.String())
			}
		},
	}
}

// ours starts a server and a packer of Go Winery.
func ours(t *testing.T, dsn, dir string) winery {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse("test.yml", fmt.Appendf(nil, `
objstorage:
  cls: winery
  database: {db: %q}
  shards_pools: [{type: directory, base_directory: %q, shard_max_size: %d}]
  shards_active_pool: shards
winery: {listen: "127.0.0.1:0"}
`, dsn, dir, shardMaxSize))
	must(err)
	base, err := sharedbase.New(dsn, "test")
	must(err)
	set, err := storage.Open(c.Pools, true)
	must(err)
	must(set["shards"].Init(t.Context()))
	m, err := metrics.FromEnvironment(slog.Default())
	must(err)
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	quiet := slog.New(slog.DiscardHandler)
	go func() {
		server := writer.Settings{Winery: c.Winery, Version: "1.2.3", Log: quiet}
		ended <- writer.Run(ctx, server, func(context.Context) (writer.Options, error) {
			return writer.Options{
				Config: c, Base: base, Pools: set, Metrics: m,
				Ready: func(address string) { ready <- address }, Alive: func() {},
			}, nil
		})
	}()
	var address string
	select {
	case address = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	p := packer.New(packer.Options{
		Base: base, Pools: set, Metrics: m, MaxSizes: map[string]int64{"shards": shardMaxSize}, Log: quiet,
	})
	return winery{
		url: "http://" + address, directory: dir,
		pack: func() {
			t.Helper()
			for deadline := time.Now().Add(30 * time.Second); ; {
				worked, err := p.Step(t.Context())
				must(err)
				if worked {
					return
				}
				if time.Now().After(deadline) {
					t.Fatal("no shard is full")
				}
			}
		},
		stop: func() {
			stop()
			must(<-ended)
			must(set.Close())
			base.Close()
			m.Close()
		},
	}
}
