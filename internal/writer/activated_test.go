// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/config"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/writer"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/logtest"
	"winery/test/pgtest"
)

// exiting reports by the process's end.
type exiting struct{}

func (exiting) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

// failing, in place of a DSN, makes a server that fails to open its database once a client
// is connected.
const failing = "failing"

func failActivated() int {
	sockets := func() (n int) {
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, link := range links {
			if to, _ := os.Readlink(link); strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := writer.Run(context.Background(), writer.Settings{Winery: config.Winery{Listen: "unix:/nonexistent/unused"}, Log: log},
		func(context.Context) (writer.Options, error) {
			before := sockets()
			log.Info("opening")
			for sockets() == before {
				time.Sleep(time.Millisecond)
			}
			return writer.Options{}, errors.New("schema version 4")
		})
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// serveActivated serves until SIGINT.
func serveActivated(dsn string) int {
	if dsn == failing {
		return failActivated()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "winery")
	if err != nil {
		exiting{}.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := configured(exiting{}, dsn, dir)
	o.Config.Winery.Listen = "unix:/nonexistent/unused"
	if err := run(ctx, o, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// manager stands for the service manager: it has a socket, and starts servers that
// serve on it.
type manager struct {
	t      *testing.T
	dsn    string
	url    string
	socket *os.File
	stderr logtest.Log
}

func manage(t *testing.T, address string) *manager {
	t.Helper()
	m := &manager{t: t, dsn: pgtest.New(t)}
	base, err := sharedbase.New(m.dsn, "test")
	expect.NoError(t, err)
	defer base.Close()
	_, err = base.Init(t.Context())
	expect.NoError(t, err)
	l, err := net.Listen("tcp", address)
	expect.NoError(t, err)
	defer l.Close()
	m.url = "http://" + l.Addr().String()
	m.socket, err = l.(*net.TCPListener).File()
	expect.NoError(t, err)
	t.Cleanup(func() { _ = m.socket.Close() })
	return m
}

// start starts a server, after commands of the shell.
func (m *manager) start(commands string) *exec.Cmd {
	m.t.Helper()
	// LISTEN_PID must be the server's, which only a shell in its place knows.
	cmd := exec.CommandContext(m.t.Context(), "sh", "-c", commands+` LISTEN_PID=$$ LISTEN_FDS=1 exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), asServer+"="+m.dsn, "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{m.socket}
	cmd.Stderr = &m.stderr
	expect.NoError(m.t, cmd.Start())
	return cmd
}

func (m *manager) stop(cmd *exec.Cmd) {
	m.t.Helper()
	expect.NoError(m.t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		m.t.Errorf("%v\n%s", err, m.stderr.String())
	}
}

// connect returns a client that tries nothing again.
func (m *manager) connect() *client.Client {
	m.t.Helper()
	c, err := client.New(m.url, client.RetryFor(0))
	expect.NoError(m.t, err)
	return c
}

// TestRestartBySocketActivation: a server that is restarted under load refuses no
// connection and fails no request, whether clients keep their connections or not.
func TestRestartBySocketActivation(t *testing.T) {
	m := manage(t, "127.0.0.1:0")
	ctx, end := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var answered atomic.Int64
	for n := range 8 {
		clients.Go(func() {
			kept := m.connect()
			defer kept.Close()
			for i := 0; ctx.Err() == nil; i++ {
				c := kept
				if n%2 == 1 {
					c = m.connect()
				}
				content := fmt.Appendf(nil, "%d %d", n, i)
				id := sha256.Sum256(content)
				if err := c.Add(t.Context(), id, content); err != nil {
					t.Errorf("add: %v", err)
				}
				if got, err := c.Get(t.Context(), id); err != nil || string(got) != string(content) {
					t.Errorf("get: %q, %v", got, err)
				}
				if c != kept {
					c.Close()
				}
				answered.Add(2)
			}
		})
	}
	// The first connections are older than the server.
	var server *exec.Cmd
	for restart := range 4 {
		if server != nil {
			m.stop(server)
		}
		before := answered.Load()
		server = m.start("")
		expect.Eventually(t, fmt.Sprintf("answers after start %d", restart), func() bool { return answered.Load() > before+100 })
	}
	end()
	clients.Wait()
	m.stop(server)
	if n := strings.Count(m.stderr.String(), "winery.listen is not used"); n != 4 {
		t.Errorf("%d warnings that winery.listen is not used, want 4", n)
	}
	t.Logf("%d requests were answered during 3 restarts, none failed", answered.Load())
}

// TestFailsToStartBySocketActivation: a server that cannot open its database answers the
// requests that it has accepted, and ends at once.
func TestFailsToStartBySocketActivation(t *testing.T) {
	m := manage(t, "127.0.0.1:0")
	m.dsn = failing
	server := m.start("")
	m.stderr.Wait(t, "msg=opening")
	began := time.Now()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Get(m.url + "/objects") //nolint:noctx // the client of a test
	expect.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "could not start") {
		t.Errorf("answered %s: %s, %v", answer.Status, text, err)
	}
	if err := server.Wait(); err == nil || !strings.Contains(m.stderr.String(), "schema version 4") {
		t.Errorf("ended with %v\n%s", err, m.stderr.String())
	}
	if took := time.Since(began); took > 15*time.Second { // a request in flight is given 20 s
		t.Errorf("ended after %v", took)
	}
}

// TestPassedSocketIsProtected: a socket of the service manager that other hosts can
// reach needs what a configured one needs.
func TestPassedSocketIsProtected(t *testing.T) {
	m := manage(t, "0.0.0.0:0")
	if err := m.start("").Wait(); err == nil {
		t.Error("it serves")
	}
	if log := m.stderr.String(); !strings.Contains(log, "a socket of the service manager") || !strings.Contains(log, "which other hosts can reach") {
		t.Errorf("the log has %s", log)
	}
}

// TestFewFiles: with more clients than open files, the server still answers.
func TestFewFiles(t *testing.T) {
	m := manage(t, "127.0.0.1:0")
	server := m.start("ulimit -n 128;")
	address := strings.TrimPrefix(m.url, "http://")
	for range 500 {
		conn, err := net.DialTimeout("tcp", address, time.Minute)
		expect.NoError(t, err)
		defer conn.Close()
	}
	c := m.connect()
	defer c.Close()
	for i := range 20 {
		content := fmt.Appendf(nil, "few files %d", i)
		expect.NoError(t, c.Add(t.Context(), sha256.Sum256(content), content))
	}
	m.stop(server)
	if strings.Contains(m.stderr.String(), "too many open files") {
		t.Errorf("the log has\n%s", m.stderr.String())
	}
}
