// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"winery/test/certtest"
	"winery/test/expect"
	"winery/test/logtest"
)

// asWriter, in the environment, makes the test binary the writer.
const asWriter = "WINERY_TEST_AS_WRITER"

func TestMain(m *testing.M) {
	if os.Getenv(asWriter) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start starts the writer, which ends with the test.
func start(t *testing.T, configuration string) (*os.Process, *logtest.Log) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--config", configuration, "--telemetry-listen", "off", "--log-format", "text")
	cmd.Env = append(os.Environ(), asWriter+"=1")
	log := new(logtest.Log)
	cmd.Stderr = log
	expect.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process, log
}

// TestReloadInPart: SIGHUP reloads the access file although the certificate is broken, and
// the log says of each what became of it.
func TestReloadInPart(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		expect.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certtest.New(t).Server(certificate, key)
	const list = "clients: [{name: %s, token_sha256: %s, rights: [read]}]\n"
	access := file("access.yml", fmt.Sprintf(list, "one", strings.Repeat("a", 64)))
	configuration := file("winery.yml", fmt.Sprintf(`
objstorage:
  cls: winery
  database: {db: "postgresql://nobody@127.0.0.1:1/none"}
  shards_pools: [{type: directory, base_directory: %q, shard_max_size: 1000000}]
  shards_active_pool: shards
winery: {listen: "127.0.0.1:0", tls: {certificate: %q, key: %q}, access: %q}
`, dir, certificate, key, access))
	process, log := start(t, configuration)
	log.Wait(t, "msg=listening")
	file("cert.pem", "broken")
	file("access.yml", fmt.Sprintf(list, "two", strings.Repeat("b", 64)))
	expect.NoError(t, process.Signal(syscall.SIGHUP))
	log.Wait(t, `msg=reloaded role=writer what="access file"`)
	log.Wait(t, `msg="not reloaded: the role continues with what it had" role=writer what="TLS certificates" err="TLS certificate `+certificate)
	if lines := log.Lines("reloaded"); len(lines) != 2 {
		t.Errorf("the log has\n%s", strings.Join(lines, "\n"))
	}
}
