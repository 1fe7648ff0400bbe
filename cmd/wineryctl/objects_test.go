// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/test/expect"
	"winery/test/roletest"
)

func line(path, content string) string {
	return fmt.Sprintf("%x  %s", sha256.Sum256([]byte(content)), path)
}

func idOf(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

func sortedLines(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	slices.Sort(lines)
	return lines
}

func TestPutGetDelete(t *testing.T) {
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{AllowDelete: true})
	dir := t.TempDir()
	big := strings.Repeat("0123456789abcdef", 1<<20)
	var want []string
	for name, content := range map[string]string{
		"tree/a": "alpha", "tree/empty": "", "tree/deep/er/b": "beta", "tree/deep/twin": "alpha", "tree/big": big,
		"single": "one file",
	} {
		want = append(want, line(write(t, dir, name, content), content))
	}
	if err := os.Symlink("a", filepath.Join(dir, "tree/link")); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	stdout, stderr, status := ctl(t, "put", filepath.Join(dir, "tree"), filepath.Join(dir, "single"), "--url", url)
	if got := sortedLines(stdout); status != 0 || !slices.Equal(got, want) {
		t.Fatalf("status %d, got\n%s\nexpected\n%s\n%s", status, strings.Join(got, "\n"), strings.Join(want, "\n"), stderr)
	}
	if !strings.Contains(stderr, "stored 6 files") || !strings.Contains(stderr, "new: 5 objects") {
		t.Errorf("summary: %q", stderr)
	}
	t.Chdir(dir)
	write(t, ".", "-q", "like a flag")
	if got := must(t, "put", "--url", url, "--", "-q"); got != line("-q", "like a flag")+"\n" {
		t.Errorf("put -- -q: %q", got)
	}
	if got := must(t, "--url", url, "put", "single", "--", "-q"); got != line("single", "one file")+"\n"+line("-q", "like a flag")+"\n" {
		t.Errorf("put single -- -q: %q", got)
	}
	if stdout := must(t, "--url", url, "put", "-q", dir); stdout != "" {
		t.Errorf("--quiet printed %q", stdout)
	}
	for _, content := range []string{"alpha", "", big} {
		if got := must(t, "--url", url, "get", idOf(content)); got != content {
			t.Errorf("got %d bytes that are not the %d stored", len(got), len(content))
		}
	}
	out := filepath.Join(dir, "out")
	must(t, "get", strings.ToUpper(idOf("beta")), "-o", out, "--url", url)
	if got, err := os.ReadFile(out); err != nil || string(got) != "beta" {
		t.Errorf("-o wrote %q, %v", got, err)
	}

	must(t, "--url", url, "delete", idOf("alpha"), idOf("beta"))
	if _, stderr, status := ctl(t, "--url", url, "get", idOf("alpha")); status != 1 || !strings.Contains(stderr, "not found") {
		t.Errorf("get of a deleted object: status %d, %q", status, stderr)
	}
	_, stderr, status = ctl(t, "--url", url, "delete", idOf("beta"), idOf("one file"))
	if status != 1 || !strings.Contains(stderr, idOf("beta")) || !strings.Contains(stderr, "1 of 2") || store.Len() != 3 {
		t.Errorf("delete of one that is gone and one that is not: status %d, %q, %d left", status, stderr, store.Len())
	}
}

// TestPutManyFiles stores more files than fit in a batch.
func TestPutManyFiles(t *testing.T) {
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{})
	dir := t.TempDir()
	const many = 1203
	for i := range many {
		write(t, dir, fmt.Sprint(i), fmt.Sprint(i))
	}
	if got := sortedLines(must(t, "--url", url, "put", dir)); len(got) != many || store.Len() != many {
		t.Errorf("%d lines, %d objects", len(got), store.Len())
	}
}

func TestPutFailures(t *testing.T) {
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{MaxObjectSize: 1000})
	dir := t.TempDir()
	small, large := write(t, dir, "small", "small"), write(t, dir, "large", strings.Repeat("x", 1001))
	hidden := write(t, dir, "hidden", "secret")
	must(t, "--url", url, "put", small)

	// wineryctl does not know the limit of the writer.
	missing := filepath.Join(dir, "missing")
	stdout, stderr, status := ctl(t, "--url", url, "put", missing, large, small, os.DevNull)
	if status != 1 || strings.TrimSpace(stdout) != line(small, "small") {
		t.Errorf("status %d, stdout %q", status, stdout)
	}
	for _, says := range []string{missing + ": no such file", large + ": ", "1001 bytes", os.DevNull, "stored 1 files", "3 files could not be stored"} {
		if !strings.Contains(stderr, says) {
			t.Errorf("%q is not in %q", says, stderr)
		}
	}

	// wineryctl has the limit from the configuration, and reads nothing.
	cfg := configFile(t, "postgresql://nowhere/none", "winery: {max_object_size: 5}")
	_, stderr, status = ctl(t, "--config", cfg, "--url", url, "put", small, hidden)
	if status != 1 || !strings.Contains(stderr, hidden+": 6 bytes are more than the limit of 5 bytes") || store.Len() != 1 {
		t.Errorf("status %d, %q, %d objects", status, stderr, store.Len())
	}
}

func TestServerErrors(t *testing.T) {
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{})
	store.Put(sha256.Sum256([]byte("right")), []byte("wrong"))
	if stdout, stderr, status := ctl(t, "--url", url, "get", idOf("right")); status != 1 || stdout != "" || !strings.Contains(stderr, idOf("wrong")) {
		t.Errorf("an object that is not what was asked for: status %d, %q, %q", status, stdout, stderr)
	}
	if _, stderr, status := ctl(t, "--url", url, "delete", idOf("right")); status != 1 || !strings.Contains(stderr, "allow_delete") {
		t.Errorf("a deletion that is not allowed: status %d, %q", status, stderr)
	}
	readOnly := serve(t, &store, rpc.Options{ReadOnly: true})
	if _, stderr, status := ctl(t, "--url", readOnly, "put", write(t, t.TempDir(), "x", "x")); status != 1 || !strings.Contains(stderr, "read-only") {
		t.Errorf("put to a read-only server: status %d, %q", status, stderr)
	}
}

// A signal stops the deletion of many objects at once, with one line.
func TestDeleteStops(t *testing.T) {
	var store rpctest.Store
	deleting, finish := make(chan struct{}), make(chan struct{})
	store.Before(func(context.Context) error {
		deleting <- struct{}{}
		<-finish
		return nil
	})
	url := serve(t, &store, rpc.Options{AllowDelete: true})
	cmd := exec.CommandContext(t.Context(), binary, "--url", url, "delete", idOf("x"), idOf("y"), idOf("z"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	expect.NoError(t, cmd.Start())
	<-deleting
	expect.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait()
	close(finish)
	if cmd.ProcessState.ExitCode() != 1 || strings.Count(stderr.String(), "\n") != 2 || !strings.Contains(stderr.String(), "3 of 3 objects were not deleted: object "+idOf("x")) {
		t.Errorf("status %d: %s", cmd.ProcessState.ExitCode(), stderr.String())
	}
}

// If no writer runs, one line says so at once, with the address and the cure.
func TestNoWriter(t *testing.T) {
	socket := "unix:" + filepath.Join(t.TempDir(), "socket")
	file := write(t, t.TempDir(), "x", "x")
	for _, args := range [][]string{{"put", file}, {"put", "-q", file, file}, {"get", idOf("x")}, {"delete", idOf("x"), idOf("y")}} {
		_, stderr, status := ctl(t, append([]string{"--url", socket}, args...)...)
		if status != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "no answer at "+socket+": dial unix ") ||
			!strings.HasSuffix(stderr, ": no such file or directory; is winery-writer running there?\n") {
			t.Errorf("%q: status %d, %q", args, status, stderr)
		}
	}
}

// An empty variable counts as unset.
func TestEmptyVariable(t *testing.T) {
	var store rpctest.Store
	store.Put(sha256.Sum256([]byte("x")), []byte("x"))
	listen := strings.TrimPrefix(serve(t, &store, rpc.Options{}), "http://")
	t.Setenv("SWH_CONFIG_FILENAME", configFile(t, "postgresql://nowhere/none", "winery: {listen: '"+listen+"'}"))
	if got := must(t, "get", idOf("x")); got != "x" {
		t.Errorf("got %q", got)
	}
}

// TestAddressOfConfiguration reaches the writer at the address of the configuration.
func TestAddressOfConfiguration(t *testing.T) {
	var store rpctest.Store
	socket := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: rpc.NewHandler(&store, rpc.Options{})}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	unix := configFile(t, "postgresql://nowhere/none", "winery: {listen: 'unix:"+socket+"'}")
	must(t, "put", write(t, t.TempDir(), "x", "through a socket"), "--config", unix)

	_, port, _ := net.SplitHostPort(strings.TrimPrefix(serve(t, &store, rpc.Options{}), "http://"))
	tcp := configFile(t, "postgresql://nowhere/none", "winery: {listen: '0.0.0.0:"+port+"', allow_unprotected_network: true}")
	if got := must(t, "get", idOf("through a socket"), "--config", tcp); got != "through a socket" {
		t.Errorf("got %q", got)
	}
}

// TestCleanDeletedLeavesSome: objects that are due, and that the command does not erase, are
// counted by the reason, and the command fails.
func TestCleanDeletedLeavesSome(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	names := map[string]string{}
	for i, what := range []string{"due", "claimed", "quarantined", "elsewhere", "unpacked"} {
		objects := roletest.Objects(uint64(i), 10, 1000)[1:]
		claim := s.writing(t, "files", objects)
		names[what] = claim.Name()
		if what != "unpacked" {
			s.sql(t, "UPDATE shards SET state = 'packed', locker = NULL WHERE name = '"+claim.Name()+"'")
			roletest.Put(t, s.pools["files"], claim.Name(), objects)
		}
		for _, o := range objects[:i+1] {
			expect.NoError(t, s.base.Delete(t.Context(), o.ID))
		}
	}
	claim, err := s.base.ClaimImage(t.Context(), names["claimed"])
	expect.NoError(t, err)
	s.sql(t, "INSERT INTO winery_quarantine SELECT id, 'table damaged', 'packer', 'ceph1' FROM shards WHERE name = '"+names["quarantined"]+"'")
	s.sql(t, "UPDATE shards SET pool_name = 'cold' WHERE name = '"+names["elsewhere"]+"'")

	stdout, stderr, status := ctl(t, "--config", s.config, "objects", "clean-deleted")
	if status != 1 || stdout != "1 deleted objects erased\n5 deleted objects are in shards that are not packed yet\n" {
		t.Errorf("status %d, %q", status, stdout)
	}
	if want := "9 deleted objects were not erased; 2 in images that other processes have claimed: run the command again later; " +
		"3 in quarantined shards: see `wineryctl shards quarantined`; 4 in pools that the configuration does not have: cold"; !strings.Contains(stderr, want) {
		t.Errorf("%q, want %q", stderr, want)
	}

	expect.NoError(t, claim.Release(t.Context()))
	s.must(t, "shards", "unquarantine", names["quarantined"])
	s.sql(t, "UPDATE shards SET pool_name = 'files'")
	if got := s.must(t, "objects", "clean-deleted"); got != "9 deleted objects erased\n5 deleted objects are in shards that are not packed yet\n" {
		t.Errorf("%q", got)
	}
}
