// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/internal/config"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/progress"
	"winery/internal/storage"
	"winery/internal/writer"
	"winery/sharedbase"
	"winery/test/pgtest"
)

// asServer, in the environment, makes the test binary serve what the service
// manager passed, with the DSN that it holds.
const asServer = "WINERY_TEST_AS_SERVER"

func TestMain(m *testing.M) {
	if dsn := os.Getenv(asServer); dsn != "" {
		os.Exit(serveActivated(dsn))
	}
	goleak.VerifyTestMain(m)
}

// options make a server of an empty database and a directory pool.
func options(t *testing.T) writer.Options {
	t.Helper()
	dsn := pgtest.New(t)
	o := configured(t, dsn, t.TempDir())
	t.Cleanup(func() {
		if err := o.Pools.Close(); err != nil {
			t.Error(err)
		}
		o.Base.Close()
	})
	if _, err := o.Base.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return o
}

type fataler interface{ Fatal(...any) }

func configured(t fataler, dsn, dir string) writer.Options {
	yaml := fmt.Sprintf(`
objstorage:
  cls: winery
  database: {db: %q}
  shards_pools: [{type: directory, base_directory: %q, shard_max_size: 1000000}]
  shards_active_pool: shards
winery: {listen: "127.0.0.1:0"}
`, dsn, dir)
	c, err := config.Parse("test.yml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	base, err := sharedbase.New(dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	set, err := storage.Open(c.Pools, true)
	if err != nil {
		t.Fatal(err)
	}
	return writer.Options{
		Config: c, Base: base, Pools: set,
		Ready: func(string) {}, Alive: func() {},
	}
}

var quiet = slog.New(slog.DiscardHandler)

// run serves what is open already.
func run(ctx context.Context, o writer.Options, log *slog.Logger) error {
	return writer.Run(ctx, writer.Settings{Winery: o.Config.Winery, Version: "1.2.3", Log: log},
		func(context.Context) (writer.Options, error) { return o, nil })
}

// running is a server under test.
type running struct {
	t       *testing.T
	address string
	alive   chan struct{}
	stop    context.CancelFunc
	ended   chan error
}

// start runs a server and returns once it is ready.
func start(t *testing.T, o writer.Options) *running { return startLogging(t, o, quiet) }

func startLogging(t *testing.T, o writer.Options, log *slog.Logger) *running {
	t.Helper()
	return starting(t, o, func(ctx context.Context, o writer.Options) error { return run(ctx, o, log) })
}

// starting starts a server by serve.
func starting(t *testing.T, o writer.Options, serve func(context.Context, writer.Options) error) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &running{t: t, alive: make(chan struct{}, 1), stop: cancel, ended: make(chan error, 1)}
	ready := make(chan string, 1)
	o.Ready = func(address string) { ready <- address }
	o.Alive = func() {
		select {
		case s.alive <- struct{}{}:
		default:
		}
	}
	go func() { s.ended <- serve(ctx, o) }()
	t.Cleanup(cancel)
	select {
	case s.address = <-ready:
	case err := <-s.ended:
		t.Fatalf("ended before it was ready: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("not ready")
	}
	return s
}

func (s *running) end() {
	s.t.Helper()
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Error(err)
		}
	case <-time.After(time.Minute):
		s.t.Fatal("does not end")
	}
}

func connect(t *testing.T, address string) *client.Client {
	t.Helper()
	c, err := client.New(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A server holds a shard while it runs, stores and reads, shows life, and gives
// the shard back.
func TestRun(t *testing.T) {
	o := options(t)
	s := start(t, o)
	shards := func() string {
		list, err := o.Base.ListShards(t.Context(), sharedbase.ShardFilter{})
		if err != nil {
			t.Fatal(err)
		}
		var states []string
		for _, s := range list {
			states = append(states, string(s.State))
		}
		return strings.Join(states, " ")
	}
	select {
	case <-s.alive:
	case <-time.After(30 * time.Second):
		t.Error("shows no life")
	}
	c := connect(t, "http://"+s.address)
	content := []byte("a grape")
	id := sha256.Sum256(content)
	if _, err := c.Get(t.Context(), id); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("before it was added: %v", err)
	}
	if err := c.Add(t.Context(), id, content); err != nil {
		t.Fatal(err)
	}
	if got := shards(); got != "writing" {
		t.Errorf("after an add there are shards %q", got)
	}
	if got, err := c.Get(t.Context(), id); err != nil || string(got) != string(content) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := c.Delete(t.Context(), id); !errors.Is(err, client.ErrForbidden) {
		t.Errorf("deleting where it is off: %v", err)
	}
	s.end()
	if got := shards(); got != "standby" {
		t.Errorf("left shards %q", got)
	}
}

func TestReadOnlyAndDelete(t *testing.T) {
	o := options(t)
	o.Config.AllowDelete = true
	s := start(t, o)
	content := []byte("a raisin")
	id := sha256.Sum256(content)
	if err := connect(t, "http://"+s.address).Add(t.Context(), id, content); err != nil {
		t.Fatal(err)
	}
	s.end()

	readOnly := *o.Config
	readOnly.ReadOnly = true
	r := o
	r.Config = &readOnly
	s = start(t, r)
	c := connect(t, "http://"+s.address)
	if got, err := c.Get(t.Context(), id); err != nil || string(got) != string(content) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := c.Add(t.Context(), id, content); !errors.Is(err, client.ErrReadOnly) {
		t.Errorf("adding: %v", err)
	}
	if err := c.Delete(t.Context(), id); !errors.Is(err, client.ErrReadOnly) {
		t.Errorf("deleting: %v", err)
	}
	s.end()

	s = start(t, o)
	c = connect(t, "http://"+s.address)
	if err := c.Delete(t.Context(), id); err != nil {
		t.Error(err)
	}
	if err := c.Delete(t.Context(), id); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("deleting again: %v", err)
	}
	s.end()
}

// A request that is in flight when the server shuts down is answered.
func TestShutdownAnswers(t *testing.T) {
	s := start(t, options(t))
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := strings.Repeat(" ", 1000)
	_, err = fmt.Fprintf(conn, "POST /content/add HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
	if err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := conn.Read(answer) // once the handler reads the body
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 100 ") {
		t.Fatalf("got %q, %v", answer[:n], err)
	}
	s.stop()
	for { // until no further connection is possible
		late, err := net.Dial("tcp", s.address)
		if err != nil {
			break
		}
		_ = late.Close()
	}
	if _, err := conn.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	n, err = conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 400 ") {
		t.Errorf("got %q, %v", answer[:n], err)
	}
	s.end()
}

func TestUnixSocket(t *testing.T) {
	o := options(t)
	socket := filepath.Join(t.TempDir(), "winery.sock")
	o.Config.Winery.Listen = "unix:" + socket

	// One that a killed writer left.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()

	s := start(t, o)
	if _, err := connect(t, o.Config.Winery.Listen).Contains(t.Context(), [32]byte{}); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), o, quiet); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a second writer on the socket: %v", err)
	}
	s.end()
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left the socket: %v", err)
	}
}

// TestStopHasLimit: a server that ends says how long that may take. Meanwhile no
// step reports progress, and winery.stall_limit may be less.
func TestStopHasLimit(t *testing.T) {
	o := configured(t, "host=127.0.0.1 port=1 dbname=nowhere", t.TempDir())
	defer o.Base.Close()
	defer o.Pools.Close()
	o.Config.ReadOnly = true // needs no database to serve
	reports := make(chan progress.Report, 9)
	o.Progress = func(r progress.Report) { reports <- r }
	s := start(t, o)
	if len(reports) != 0 {
		t.Errorf("it reports before it ends: %v", <-reports)
	}
	s.end()
	select {
	case r := <-reports:
		if r.Limit < time.Minute || r.String() != "stopping: at most "+r.Limit.String() {
			t.Errorf("it reports %v", r)
		}
	default:
		t.Error("it reports nothing")
	}
}
