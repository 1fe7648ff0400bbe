// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"winery/internal/daemon"
	"winery/test/certtest"
	"winery/test/expect"
)

func TestExitStatus(t *testing.T) {
	for name, c := range map[string]struct {
		role   string
		args   []string
		status int
		stderr []string
	}{
		"done":          {"done", nil, 0, []string{"role=test", "level=WARN", "throttler: does nothing any more", "msg=ended"}},
		"done, in JSON": {"done", []string{"--log-format", "json"}, 0, []string{`"role":"test"`}},
		"failed":        {"fail", nil, 1, []string{"level=ERROR", `err="the database is unavailable"`}},
		"a command":     {"command", nil, 1, []string{`err="mapping: exit status 1"`}},
		"wrong at once": {"usage", nil, 78, []string{`--pool-name: no pool`}},
		"panic":         {"panic", nil, 1, []string{`err="internal error: bug"`}},
		"panic, debug":  {"panic", []string{"--log-level", "debug"}, 1, []string{"process_test.go"}},
		"unknown flag":  {"done", []string{"--wibble"}, 78, []string{"winery-test: unknown option --wibble; see --help"}},
		"argument":      {"done", []string{"shard"}, 78, []string{`winery-test: unexpected argument "shard"`}},
		"log level":     {"done", []string{"--log-level", "loud"}, 78, []string{`--log-level: found "loud", must be debug, info, warn or error`}},
		"no log level":  {"done", []string{"--log-level-file", "/"}, 0, []string{`level=WARN msg="cannot read the log level from --log-level-file, using --log-level" err="--log-level-file: read /: is a directory"`}},
		"empty level":   {"done", []string{"--log-level-file", "/dev/null"}, 0, []string{`level=WARN msg="cannot read the log level from --log-level-file, using --log-level" err="--log-level-file /dev/null: found \"\", must be debug, info, warn or error"`}},
		"wrong level":   {"done", []string{"--log-level-file", "/proc/self/comm", "--log-level", "debug"}, 0, []string{`level=WARN msg="cannot read the log level from --log-level-file, using --log-level"`}},
		"wrong levels":  {"done", []string{"--log-level-file", "/dev/null", "--log-level", "loud"}, 78, []string{`--log-level: found "loud", must be debug, info, warn or error`}},
		"log format":    {"done", []string{"--log-format", "xml"}, 78, []string{`--log-format: found "xml", must be auto, text or json`}},
		"configuration": {"done", []string{"--config", "/nonexistent/w.yml"}, 78, []string{"winery-test: /nonexistent/w.yml: no such file: name the configuration by --config"}},
		"flag's value":  {"done", []string{"--stop-instead-of-waiting=maybe"}, 78, []string{"stop-instead-of-waiting"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, c.role, "dbname=winery", c.args...)
			p.end(c.status, c.stderr...)
			if strings.Contains(p.stderr.String(), "goroutine ") != (name == "panic, debug") {
				t.Errorf("stack trace?\n%s", p.stderr.String())
			}
			if strings.Count(p.stderr.String(), "database is unavailable") > 1 {
				t.Errorf("said twice:\n%s", p.stderr.String())
			}
		})
	}
}

// A role prints all faults of its configuration, one a line, also those of the connection string.
func TestConfigurationFaults(t *testing.T) {
	file := configuration(t, "postgresql://u:hunter2@h:x/db")
	text, err := os.ReadFile(file)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(file, append(text, "  name: 1\nwinery: {writers: 65}\n"...), 0o600))
	p := launch(t, "database", "--config", file)
	p.end(78, file+":3: objstorage.database.db: the database's DSN has an invalid port",
		"\n"+file+":7: objstorage.name: found 1, must be a string\n", "\n"+file+":8: winery.writers: found 65, must be a whole number from 1 to 64\n")
	if strings.Contains(p.stderr.String(), "hunter2") {
		t.Error("shows the password")
	}
}

// A file of the connection string that cannot be read now, or a renewed certificate
// without its key yet, does not end a role for good.
func TestFilesOfDSN(t *testing.T) {
	dir := t.TempDir()
	certtest.New(t).Server(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	certtest.New(t).Server(filepath.Join(dir, "renewed.pem"), filepath.Join(dir, "renewed-key.pem"))
	const dsn = "host=127.0.0.1 port=1 dbname=winery sslmode=require "
	start(t, "database", dsn+"sslrootcert="+dir+"/absent.pem").end(1, "the database's DSN names a file that cannot be read: open "+dir+"/absent.pem")
	start(t, "database", dsn+"sslcert="+dir+"/renewed.pem sslkey="+dir+"/key.pem").end(1, "the database's DSN has an sslkey that is not the key of the sslcert: complete the renewal")
	start(t, "database", dsn+"sslcert="+dir+"/cert.pem").end(78, "has only one of sslcert and sslkey")
}

func TestVersionAndHelp(t *testing.T) {
	p := launch(t, "done", "--version")
	p.expect("winery-test version " + daemon.Version())
	p.end(0)

	cmd := exec.Command(os.Args[0], "--help")
	cmd.Env = append(os.Environ(), asRole+"=done")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"winery-test - serves tests", "--config FILE", "$WINERY_CONFIG, $SWH_CONFIG_FILENAME", "--log-level", "--stop-instead-of-waiting"} {
		if !bytes.Contains(out, []byte(part)) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
}

func TestFullStdout(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := exec.Command(os.Args[0], "--help")
	cmd.Env = append(os.Environ(), asRole+"=done")
	cmd.Stdout = full
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "the output is incomplete: write /dev/stdout: no space left on device") {
		t.Errorf("%v: %s", err, &stderr)
	}
}
