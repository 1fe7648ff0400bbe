// SPDX-License-Identifier: GPL-3.0-or-later

package attack

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/client"
	"winery/test/certtest"
	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
)

// lasts is how long each attack lasts.
const lasts = 2 * time.Second

func TestAttacks(t *testing.T) {
	w := startWriter(t)
	small, large := w.add(t, []byte("small")), w.add(t, make([]byte, largeSize))
	base := w.peakMemory(t)
	// The budgets of bodies and of answers; for each connection of a host a body and
	// an answer that are too small for the budgets, and the buffers of TLS and HTTP.
	bound := base + httpapi.BodyMemory + httpapi.AnswerMemory + httpapi.MaxConnections/2*(2*httpapi.Small+64<<10)
	bound += bound / 10

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "attack\tconnections\tanswers\tmemory, MiB\tcontains, median\t99 %%\n")
	row := func(name string, a *attackers) {
		waits, failed := w.contains(t, small)
		connections, answers := a.stop()
		memory := w.peakMemory(t)
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%v\t%v\n", name, connections, answers, memory>>20,
			waits[len(waits)/2].Round(100*time.Microsecond), waits[len(waits)*99/100].Round(100*time.Microsecond))
		if failed != nil {
			t.Errorf("%s: contains: %v", name, failed)
		}
		if memory > bound {
			t.Errorf("%s: the writer took %d MiB, want at most %d", name, memory>>20, bound>>20)
		}
	}
	row("no attack", start(t, w, attack{}))
	for _, a := range w.attacks(t, large) {
		running := start(t, w, a)
		if a.answer != "" {
			expect.Eventually(t, a.name+" to be answered with "+a.answer, func() bool { return slices.Contains(running.statuses(), a.answer) })
		}
		row(a.name, running)
	}
	expect.NoError(t, table.Flush())
	fmt.Printf("bound, with 10 %%: %d MiB\n", bound>>20)
}

// writer is a winery-writer with TLS and an access file.
type writer struct {
	process *harness.Process
	ca      *certtest.Authority
	address string
	tokens  map[string]string // by the client's name
	good    *client.Client
}

func startWriter(t *testing.T) *writer {
	t.Helper()
	w := &writer{ca: certtest.New(t), tokens: map[string]string{}}
	o := fleettest.Options(t)
	o.ShardMaxSize = 1 << 40
	certificate, key := filepath.Join(o.Dir, "server.pem"), filepath.Join(o.Dir, "server.key")
	w.ca.Server(certificate, key)
	access := "clients:\n"
	for name, more := range map[string]string{
		"good":    "rights: [read, write]",
		"reader":  "rights: [read]",
		"expired": "rights: [read, write], expires: \"2020-01-01\"",
	} {
		w.tokens[name] = name + strings.Repeat("x", 43-len(name))
		hash := sha256.Sum256([]byte(w.tokens[name]))
		access += fmt.Sprintf("  - {name: %s, token_sha256: %s, %s}\n", name, hex.EncodeToString(hash[:]), more)
	}
	access += "  - {name: vault, certificate: vault.example.org, rights: [read]}\n"
	file := filepath.Join(o.Dir, "access.yml")
	expect.NoError(t, os.WriteFile(file, []byte(access), 0o600))
	f := fleettest.New(t, o)
	_, path := f.For(harness.Writer)
	config, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	expect.NoError(t, err)
	_, err = fmt.Fprintf(config, "  access: %s\n  tls: {certificate: %s, key: %s, client_ca: %s}\n", file, certificate, key, w.ca.Path)
	expect.NoError(t, err)
	expect.NoError(t, config.Close())
	w.process, err = f.Start(harness.Writer, "--listen", "127.0.0.1:0")
	expect.NoError(t, err)
	expect.Eventually(t, "the writer's address", func() bool {
		records, err := w.process.Records("listening")
		expect.NoError(t, err)
		if len(records) > 0 {
			w.address = fmt.Sprint(records[0]["address"])
		}
		return len(records) > 0
	})
	w.good, err = client.New("https://"+w.address, client.Token(w.tokens["good"]), client.Authorities(w.ca.Pool()), client.Timeout(30*time.Second))
	expect.NoError(t, err)
	t.Cleanup(w.good.Close)
	return w
}

// tls is how an attacker connects, with the certificate for these names if there are any.
func (w *writer) tls(names ...string) *tls.Config {
	config := &tls.Config{RootCAs: w.ca.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13}
	if len(names) > 0 {
		config.Certificates = []tls.Certificate{w.ca.ClientPair(&x509.Certificate{DNSNames: names})}
	}
	return config
}

func (w *writer) add(t *testing.T, content []byte) (id [32]byte) {
	t.Helper()
	id = sha256.Sum256(content)
	expect.NoError(t, w.good.Add(t.Context(), id, content))
	return id
}

// contains asks for an object again and again, as long as an attack lasts and at
// least a hundred times, and returns the sorted times that the answers took.
func (w *writer) contains(t *testing.T, id [32]byte) (waits []time.Duration, failed error) {
	t.Helper()
	for began := time.Now(); time.Since(began) < lasts || len(waits) < 100; {
		asked := time.Now()
		there, err := w.good.Contains(t.Context(), id)
		if err != nil || !there {
			failed = fmt.Errorf("%v, %w", there, err)
		}
		waits = append(waits, time.Since(asked))
	}
	slices.Sort(waits)
	return waits, failed
}

// peakMemory returns the largest resident memory of the writer since the last call,
// in bytes.
func (w *writer) peakMemory(t *testing.T) (bytes int64) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", w.process.PID())
	status, err := os.ReadFile(dir + "status")
	expect.NoError(t, err)
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(line)[0], 10, 64)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(dir+"clear_refs", []byte("5"), 0)) // proc(5): resets the peak
	return kib << 10
}
