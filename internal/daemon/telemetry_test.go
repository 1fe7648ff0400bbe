// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"winery/test/certtest"
	"winery/test/expect"
)

// telemetry returns the answer of a role about itself, at the address that it logs.
func (p *process) telemetry(path string) (status int, body string) {
	p.t.Helper()
	p.stderr.Wait(p.t, "serving metrics and health")
	address := regexp.MustCompile(`msg="serving metrics and health" .*address=(\S+)`).FindStringSubmatch(p.stderr.String())[1]
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}}
	answer, err := client.Get("http://role" + path)
	expect.NoError(p.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	expect.NoError(p.t, err)
	return answer.StatusCode, string(text)
}

// A role answers before it has reached its database, with the state of its start,
// and without a word on where the database is.
func TestTelemetryBeforeDatabase(t *testing.T) {
	_, dsn := initialised(t)
	r, dsn := relayed(t, dsn)
	p := start(t, "database", dsn, "--telemetry-listen", "unix:"+filepath.Join(t.TempDir(), "socket"))
	p.stderr.Wait(t, "waiting for the database")
	if status, body := p.telemetry("/livez"); status != 200 || body != "ok\n" {
		t.Errorf("/livez: %d %s", status, body)
	}
	if status, body := p.telemetry("/readyz"); status != 503 ||
		body != "database: failed: the database is unavailable\npools: failed: not opened yet\nrole: failed: starting\n" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	for _, line := range []string{
		"winery_database_up 0", `winery_build_info{goversion="go`, `winery_config_info{role="test",sha256="`, "process_cpu_seconds_total", "go_goroutines",
	} {
		if _, body := p.telemetry("/metrics"); !strings.Contains(body, "\n"+line) {
			t.Errorf("no %s in:\n%s", line, body)
		}
	}
	if status, _ := p.telemetry("/debug/pprof/cmdline"); status != 200 {
		t.Errorf("profiles over a unix socket: %d", status)
	}
	r.Join()
	p.expect("open")
	expect.Eventually(t, "the database is ready", func() bool { // a failure is kept for a second
		_, body := p.telemetry("/readyz")
		return strings.HasPrefix(body, "database: ok\n")
	})
	p.signal(syscall.SIGTERM)
	p.end(0)
}

// A step that makes no progress for half of the limit shows in /livez before the
// process exits.
func TestLivezOfStalledRole(t *testing.T) {
	t.Parallel()
	config := configuration(t, "dbname=winery")
	text, err := os.ReadFile(config)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(config, append(text, "winery: {stall_limit: 40}\n"...), 0o600))
	p := launch(t, "stalled", "--config", config, "--telemetry-listen", "127.0.0.1:0")
	p.expect("working")
	status, body := p.telemetry("/livez")
	if status != 200 {
		t.Errorf("/livez: %d %s", status, body)
	}
	for ; status == 200; status, body = p.telemetry("/livez") {
		time.Sleep(200 * time.Millisecond)
	}
	if status != 503 || !strings.HasPrefix(body, "failed: no progress for ") || !strings.HasSuffix(body, "; the process exits after 40s\n") {
		t.Errorf("/livez: %d %s", status, body)
	}
	p.end(1, "no progress: this process exits")
}

// An address that was asked for and is in use is an error that says what to do, and
// worth a restart; a wrong address is not.
func TestTelemetryAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	expect.NoError(t, err)
	defer taken.Close()
	address := taken.Addr().String()
	start(t, "done", "dbname=winery", "--telemetry-listen", address).
		end(1, "--telemetry-listen: listen tcp "+address+": bind: address already in use; give each process of a host an address of its own")
	start(t, "done", "dbname=winery", "--telemetry-listen", "localhost").end(78, `--telemetry-listen: found "localhost", must be HOST:PORT or unix:/PATH`)
	start(t, "done", "dbname=winery", "--telemetry-listen", "0.0.0.0:0").end(0, "served to other hosts without authentication")
	p := start(t, "done", "dbname=winery", "--telemetry-listen", "off")
	p.end(0)
	if strings.Contains(p.stderr.String(), "serving metrics") {
		t.Errorf("serves nevertheless:\n%s", p.stderr.String())
	}
}

// A wrong web configuration is not worth a restart. A file that cannot be read is, and
// so is a key that does not match the certificate: a renewal may not have written it yet.
func TestTelemetryWebConfig(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	certtest.New(t).Server(path("cert.pem"), path("key.pem"))
	certtest.New(t).Server(path("renewed.pem"), path("renewed-key.pem"))
	expect.NoError(t, os.WriteFile(path("wrong.pem"), []byte("-----"), 0o600))
	for text, c := range map[string]struct {
		status int
		says   string
	}{
		"": {1, "open " + path("web.yml") + ": no such file"},
		"{cert_file: absent.pem, key_file: key.pem}":    {1, "failed to read cert_file"},
		"{cert_file: cert.pem, key_file: .}":            {1, "failed to read key_file"},
		"{cert_file: renewed.pem, key_file: key.pem}":   {1, "does not match public key"},
		"{cert_file: cert.pem, key_file: wrong.pem}":    {78, "failed to find any PEM data"},
		"{cert_file: cert.pem, key_file: key.pem, a: 1": {78, "yaml"},
		"{cert_file: cert.pem}":                         {78, "missing one of key or key_file"},
	} {
		if text != "" {
			expect.NoError(t, os.WriteFile(path("web.yml"), []byte("tls_server_config: "+text+"\n"), 0o600))
		}
		start(t, "done", "dbname=winery", "--telemetry-listen", "127.0.0.1:0", "--telemetry-web-config", path("web.yml")).
			end(c.status, "--telemetry-web-config: "+path("web.yml")+": ", c.says)
		_ = os.Remove(path("web.yml"))
	}
}
