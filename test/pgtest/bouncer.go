// SPDX-License-Identifier: GPL-3.0-or-later

package pgtest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Bouncer starts a PgBouncer that pools by transaction, with two connections to
// the server for all of its clients, and returns the DSN of the database of dsn
// behind it. settings are further lines of its configuration. It is gone with the test.
func Bouncer(t testing.TB, dsn string, settings ...string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil || u.Port() == "" {
		t.Fatalf("%s must be a URL with host and port", Env)
	}
	dir := shortDir(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pgbouncer.ini")
	password, _ := u.User.Password()
	configuration := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password='%s'
[pgbouncer]
unix_socket_dir = %s
auth_type = any
pool_mode = transaction
default_pool_size = 2
%s
`, u.Hostname(), u.Port(), u.User.Username(), password, dir, strings.Join(settings, "\n"))
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("pgbouncer", file) //nolint:gosec // of this test
	var log strings.Builder
	cmd.Stderr = &log
	if os.Getuid() == 0 { // which PgBouncer refuses to run as
		give(t, cmd, dir, file)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run scripts/install-deps", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	const port = "6432"
	for socket := filepath.Join(dir, ".s.PGSQL."+port); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("pgbouncer: %v\n%s", cmd.ProcessState, log.String())
		default:
		}
	}
	return fmt.Sprintf("postgresql://%s@/%s?host=%s&port=%s", u.User.Username(), strings.TrimPrefix(u.Path, "/"), url.QueryEscape(dir), port)
}

// give has a command run as the user postgres, and gives files to this user.
func give(t testing.TB, cmd *exec.Cmd, files ...string) {
	t.Helper()
	postgres, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(postgres.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(postgres.Gid, 10, 32)
	for _, f := range files {
		err = errors.Join(err, err2, os.Chown(f, int(uid), int(gid)))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
