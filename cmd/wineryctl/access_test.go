// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/internal/httpapi/access"
	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/writer"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestAccess: a token of `access new` opens a server whose access file has the
// printed entry, to wineryctl with --token-file.
func TestAccess(t *testing.T) {
	out := must(t, "access", "new", "loader", "--rights", "read,write", "--expires", "2999-12-31")
	token, entry, found := strings.Cut(strings.TrimPrefix(out, "token: "), "\nentry in the access file:\n")
	if !found {
		t.Fatal(out)
	}
	if strings.Contains(entry, token) || must(t, "access", "new", "loader") == out {
		t.Errorf("the token is in the entry, or is not random: %s", out)
	}
	dir := t.TempDir()
	file := write(t, dir, "access.yml", "clients:\n"+entry)
	if got := must(t, "access", "check", file); got != file+": ok\n" {
		t.Error(got)
	}
	guard, err := access.NewGuard(file)
	expect.NoError(t, err)
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{AllowDelete: true, Access: guard})
	object := write(t, dir, "object", "some text")
	with := []string{"--url", url, "--token-file", write(t, dir, "token", token+"\n")}
	must(t, append(with, "put", object)...)
	for says, args := range map[string][]string{
		"this request needs a token":                     {"--url", url, "put", object},
		"the token is not known":                         {"--url", url, "--token-file", object, "put", object},
		`client loader does not have the right "delete"`: append(with, "delete", fmt.Sprintf("%x", sha256.Sum256([]byte("some text")))),
	} {
		_, stderr, status := ctl(t, args...)
		if status != 1 || !strings.Contains(stderr, says) || strings.Contains(stderr, token) {
			t.Errorf("status %d: %s; want %s", status, stderr, says)
		}
	}
	for says, args := range map[string][]string{
		`there is no right "all"`:            {"access", "new", "x", "--rights", "all"},
		"expires must be a day":              {"access", "new", "x", "--expires", "tomorrow"},
		"without spaces":                     {"access", "new", "x y"},
		"takes the NAME of one client":       {"access", "new"},
		"access file " + object:              {"access", "check", object},
		"--token-file: open /nonexistent":    {"--url", url, "--token-file", "/nonexistent", "get", strings.Repeat("ab", 32)},
		"certificate authorities: " + object: {"--url", url, "--ca", object, "get", strings.Repeat("ab", 32)},
	} {
		if _, stderr, status := ctl(t, args...); status != 78 || !strings.Contains(stderr, says) {
			t.Errorf("%q: status %d: %s; want %s", args, status, stderr, says)
		}
	}
}

// TestAuthority: --ca names the authority that signed the writer's certificate.
func TestAuthority(t *testing.T) {
	server := httptest.NewTLSServer(rpc.NewHandler(new(rpctest.Store), rpc.Options{}))
	t.Cleanup(server.Close)
	object := write(t, t.TempDir(), "object", "some text")
	if _, stderr, status := ctl(t, "--url", server.URL, "put", object); status != 1 || !strings.Contains(stderr, "certificate signed by unknown authority") {
		t.Errorf("without --ca: status %d: %s", status, stderr)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	ca := write(t, t.TempDir(), "ca.pem", string(certificate))
	must(t, "--url", server.URL, "--ca", ca, "put", object)
}

// TestDeletions: all of 1,000 deletions are recorded, with who asked for them.
func TestDeletions(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	if rows := s.rows(t, "objects", "deletions"); len(rows) != 0 {
		t.Fatal(rows)
	}
	w := startWriter(t, s, fmt.Sprintf("clients: [{name: operator, token_sha256: %x, rights: [read, write, delete]}]", sha256.Sum256([]byte("token"))))
	const n = 1000
	var ids []string
	dir := t.TempDir()
	for i := range n {
		content := fmt.Sprint("object ", i)
		write(t, dir, fmt.Sprint(i), content)
		ids = append(ids, fmt.Sprintf("%x", sha256.Sum256([]byte(content))))
	}
	with := []string{"--url", w, "--token-file", write(t, t.TempDir(), "token", "token")}
	must(t, append(with, "put", "-q", dir)...)
	must(t, append(append(with, "delete"), ids...)...)
	if _, _, status := ctl(t, append(with, "delete", ids[0])...); status != 1 { // is absent already
		t.Errorf("status %d", status)
	}
	recorded := map[string]bool{}
	for _, row := range s.rows(t, "objects", "deletions") {
		if row["client"] != "operator" || row["request_id"] == "" || !strings.HasPrefix(row["address"].(string), "127.0.0.1:") {
			t.Fatalf("%v", row)
		}
		recorded[row["sha256"].(string)] = true
	}
	for _, id := range ids {
		if !recorded[id] {
			t.Fatalf("the deletion of %s is not recorded; %d are", id, len(recorded))
		}
	}
	if got := s.must(t, "objects", "deletions", ids[7]); strings.Count(got, "\n") != 2 || !strings.Contains(got, ids[7]+"  operator  127.0.0.1:") {
		t.Errorf("%s", got)
	}
	s.fails(t, 78, "64 hexadecimal digits", "objects", "deletions", "x")
}

// startWriter starts a writer of the site with an access file, and returns its address.
func startWriter(t *testing.T, s *site, list string) (url string) {
	t.Helper()
	c, err := config.Load(s.config, nil)
	expect.NoError(t, err)
	c.AllowDelete = true
	c.Winery.Listen, c.Winery.Access = "127.0.0.1:0", write(t, t.TempDir(), "access.yml", list)
	protection, err := writer.NewProtection(c.Winery)
	expect.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		server := writer.Settings{Winery: c.Winery, Protection: protection, Log: slog.New(slog.DiscardHandler)}
		ended <- writer.Run(ctx, server, func(context.Context) (writer.Options, error) {
			return writer.Options{Config: c, Base: s.base, Pools: s.pools, Ready: func(address string) { ready <- address }, Alive: func() {}}, nil
		})
	}()
	t.Cleanup(func() {
		stop()
		expect.NoError(t, <-ended)
	})
	select {
	case address := <-ready:
		return "http://" + address
	case err := <-ended:
		t.Fatal(err)
		return ""
	}
}
