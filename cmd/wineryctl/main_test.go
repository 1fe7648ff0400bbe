// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/test/s3test"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wineryctl")
	if err == nil {
		binary = filepath.Join(dir, "wineryctl")
		build := exec.Command("go", "build", "-race", "-tags", "pacific", "-o", binary, ".")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building wineryctl:", err)
		os.Exit(1)
	}
	_ = os.Unsetenv("SWH_CONFIG_FILENAME")
	goleak.VerifyTestMain(s3test.Tests{M: m}, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// ctl runs wineryctl without the variables of the caller's environment that it reads.
func ctl(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "WINERY_CONFIG=", "WINERY_URL=")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is ctl where status 0 is expected; it returns stdout.
func must(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, status := ctl(t, args...)
	if status != 0 {
		t.Fatalf("%q ended with status %d: %s", args, status, stderr)
	}
	return stdout
}

func serve(t *testing.T, store *rpctest.Store, o rpc.Options) string {
	t.Helper()
	server := httptest.NewServer(rpc.NewHandler(store, o))
	t.Cleanup(server.Close)
	return server.URL
}

// write makes a file, and its folders, in a folder of the test.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUsage(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"nonsense"}, "nonsense"},
		{[]string{"statsu"}, `wineryctl has no command "statsu" (did you mean "status"?); see --help`},
		{[]string{"shards", "lst", "--output", "json"}, `{"error":"shards has no command \"lst\" (did you mean \"list\"?); see --help","status":78}`},
		{[]string{"shards", "list", "--otput=json"}, `wineryctl: unknown option --otput (did you mean "--output"?); see --help`},
		{[]string{"shards", "list", "--state"}, "option --state needs a value"},
		{[]string{"verify", "--output=json", "--config", "/nonexistent"}, `","status":78}`},
		{[]string{"db"}, "needs a command"},
		{[]string{"db", "nonsense"}, "nonsense"},
		{[]string{"db", "init"}, "--config"},
		{[]string{"db", "init", "extra"}, "extra"},
		{[]string{"--config", "/nonexistent", "db", "init"}, "/nonexistent"},
		{[]string{"shards", "list", "--state", "ful"}, "standby writing full"},
		{[]string{"shards", "list", "--output", "xml"}, "table or json"},
		{[]string{"shards", "list", "--nonsense"}, "nonsense"},
		{[]string{"put"}, "FILE"},
		{[]string{"put", "x"}, "--config"},
		{[]string{"put", "x", "--url", "ftp://x"}, "http://HOST:PORT"},
		{[]string{"get"}, "one SHA256"},
		{[]string{"get", id, id}, "one SHA256"},
		{[]string{"get", "abc"}, "64 hexadecimal digits"},
		{[]string{"get", id + "ab"}, "64 hexadecimal digits"},
		{[]string{"delete"}, "at least one"},
		{[]string{"delete", id, "xyz"}, "xyz"},
		{[]string{"--log-level", "loud", "--config", "x", "db", "version"}, "loud"},
	} {
		stdout, stderr, status := ctl(t, test.args...)
		if status != 78 || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%q: status %d, stdout %q, stderr %q; expected status 78 and %q", test.args, status, stdout, stderr, test.says)
		}
	}
	for _, args := range [][]string{nil, {"--help"}, {"put", "--help"}, {"--version"}} {
		if must(t, args...) == "" {
			t.Errorf("%q printed nothing", args)
		}
	}
}
