// SPDX-License-Identifier: GPL-3.0-or-later

package pgtest

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Server is a PostgreSQL of one test's own, which may be stopped and damaged.
type Server struct {
	DSN string // of the superuser, a URL
	Dir string // of scripts/pg-up

	t testing.TB
}

// Start makes a server that is gone with the test, as durable as in production.
func Start(t testing.TB) *Server {
	t.Helper()
	return up(t, shortDir(t))
}

// shortDir makes the name of a folder that user postgres reaches.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "winery-pg-")
	if err == nil {
		err = os.Chmod(dir, 0o711) //nolint:gosec // user postgres passes through
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "pg")
}

func up(t testing.TB, dir string, flags ...string) *Server {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	scripts := filepath.Join(filepath.Dir(file), "..", "..", "scripts")
	t.Cleanup(func() { run(t, filepath.Join(scripts, "pg-down"), dir) })
	dsn := run(t, filepath.Join(scripts, "pg-up"), append([]string{dir}, flags...)...)
	return &Server{DSN: strings.TrimSpace(dsn), Dir: dir, t: t}
}

// run gives the standard output of a command that must succeed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...) //nolint:gosec // our own scripts, and PostgreSQL's programs
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, complaints.String())
	}
	return string(out)
}

// Synchronous makes a standby that every commit of the server waits for, from
// now on.
func (s *Server) Synchronous() *Server {
	s.t.Helper()
	standby := up(s.t, shortDir(s.t), "--standby-of", s.DSN)
	s.Exec("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	s.Exec("SELECT pg_reload_conf()")
	for !s.Holds("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')") {
		runtime.Gosched()
	}
	return standby
}

// Ctl is pg_ctl: start, stop, restart or promote, with flags.
func (s *Server) Ctl(command string, flags ...string) {
	s.t.Helper()
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if err != nil || len(programs) == 0 {
		s.t.Fatalf("no pg_ctl: %v", err)
	}
	data, log := filepath.Join(s.Dir, "data"), filepath.Join(s.Dir, "log")
	args := append([]string{programs[len(programs)-1], command, "-D", data, "-w", "-t", "60"}, flags...)
	if command == "start" || command == "restart" {
		u, err := url.Parse(s.DSN)
		if err != nil {
			s.t.Fatal(err)
		}
		args = append(args, "-l", log, "-o", "-p "+u.Port())
	}
	s.run(args...)
}

// run runs a command as the user that the server has.
func (s *Server) run(command ...string) {
	s.t.Helper()
	if os.Getuid() == 0 {
		command = append([]string{"runuser", "-u", "postgres", "--"}, command...)
	}
	run(s.t, command[0], command[1:]...)
}

// Signal sends sig to every process of the server. One that is stopped
// continues when the test ends.
func (s *Server) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.signal(sig); err != nil {
		s.t.Fatal(err)
	}
	if sig == syscall.SIGSTOP {
		s.t.Cleanup(func() { _ = s.signal(syscall.SIGCONT) }) // if it is there still
	}
}

// signal is sent to the postmaster first: a child that it forks meanwhile would be missed, and
// one that is killed would be replaced.
func (s *Server) signal(sig syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(s.Dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	postmaster, _, _ := strings.Cut(string(text), "\n")
	list := func() []string {
		children, _ := os.ReadFile(filepath.Join("/proc", postmaster, "task", postmaster, "children")) //nolint:gosec // of our own server
		return strings.Fields(string(children))
	}
	children := list()
	if err := kill(postmaster, sig); err != nil {
		return err
	}
	for _, pid := range append(children, list()...) {
		if err := kill(pid, sig); err != nil {
			return err
		}
	}
	return nil
}

// kill sends a signal to a process, which may have ended.
func kill(pid string, sig syscall.Signal) error {
	n, err := strconv.Atoi(pid)
	if err == nil {
		err = syscall.Kill(n, sig)
	}
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Exec runs a statement as the superuser, whatever time limits the server has.
func (s *Server) Exec(sql string) {
	s.t.Helper()
	Exec(s.t, s.DSN+"?statement_timeout=0", sql)
}

// Holds asks for one truth.
func (s *Server) Holds(sql string) (holds bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, sql).Scan(&holds); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return holds
}

// Or is a DSN of this server or another: of the one that can be written to.
func (s *Server) Or(other *Server) string {
	_, host, _ := strings.Cut(other.DSN, "@")
	host, _, _ = strings.Cut(host, "/")
	return strings.Replace(s.DSN, "/postgres", ","+host+"/postgres?target_session_attrs=read-write", 1)
}

// TakeAll holds all connections that the server allows, and ends those of all
// other clients, until giveBack is called.
func (s *Server) TakeAll() (giveBack func()) {
	s.t.Helper()
	var taken []*pgx.Conn
	giveBack = func() {
		for _, conn := range taken {
			_ = conn.Close(context.Background())
		}
		taken = nil
	}
	s.t.Cleanup(giveBack)
	for {
		conn, err := pgx.Connect(context.Background(), s.DSN+"?application_name=taker")
		if err == nil {
			taken = append(taken, conn)
			continue
		}
		if pg := new(pgconn.PgError); !errors.As(err, &pg) || pg.Code != "53300" || len(taken) == 0 {
			s.t.Fatal(err)
		}
		ended, err := taken[0].Exec(context.Background(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND application_name <> 'taker'`)
		if err != nil {
			s.t.Fatal(err)
		}
		if ended.RowsAffected() == 0 {
			return giveBack
		}
	}
}

// Folder makes a folder that belongs to the server's user.
func (s *Server) Folder(name string) (path string, owner uint32) {
	s.t.Helper()
	path = filepath.Join(s.Dir, name)
	s.run("mkdir", path)
	var info syscall.Stat_t
	if err := syscall.Stat(path, &info); err != nil {
		s.t.Fatal(err)
	}
	return path, info.Uid
}

// Database names another database of the server's.
func (s *Server) Database(name string) (dsn string) { return withDatabase(s.t, s.DSN, name) }
