// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"winery/internal/httpapi/rpc/client"
	"winery/test/expect"
)

// restartsUnderLoad restarts the writer while clients store and read.
func (h *host) restartsUnderLoad(t *testing.T) {
	stop := h.load(t)
	for range 2 {
		h.run(t, "systemctl restart winery-writer")
	}
	t.Logf("2 restarts of the writer: %d requests were answered, none failed or was refused", stop())
}

// load has clients store and read until stop is called, which returns how many
// requests were answered. Some keep their connections, some do not, and none tries a
// request again: one that fails fails the test.
func (h *host) load(t *testing.T) (stop func() int64) {
	t.Helper()
	connect := func() *client.Client {
		c, err := client.New("http://"+h.writer, client.RetryFor(0))
		expect.NoError(t, err)
		return c
	}
	var clients sync.WaitGroup
	var answered atomic.Int64
	ctx := context.WithoutCancel(t.Context()) // requests in flight end before the clients do
	ended := make(chan struct{})
	end := sync.OnceFunc(func() { close(ended); clients.Wait() })
	t.Cleanup(end)
	for n := range 4 {
		c := connect()
		clients.Go(func() {
			defer func() { c.Close() }()
			for i := 0; ; i++ {
				select {
				case <-ended:
					return
				default:
				}
				if n%2 == 1 {
					c.Close()
					c = connect()
				}
				content := fmt.Appendf(nil, "%s: object %d of client %d", t.Name(), i, n)
				id := sha256.Sum256(content)
				if err := c.Add(ctx, id, content); err != nil {
					t.Errorf("add: %v", err)
				}
				if got, err := c.Get(ctx, id); err != nil || string(got) != string(content) {
					t.Errorf("get: %q, %v", got, err)
				}
				answered.Add(2)
			}
		})
	}
	expect.Eventually(t, "answers", func() bool { return answered.Load() > 20 })
	return func() int64 {
		before := answered.Load()
		expect.Eventually(t, "answers after the change", func() bool { return answered.Load() > before+20 })
		end()
		return answered.Load()
	}
}

// bootsWithoutDatabase reboots the machine while PostgreSQL is unavailable.
func (h *host) bootsWithoutDatabase(t *testing.T) {
	mapped := h.devices(t)
	h.run(t, "systemctl enable winery.target winery-writer.socket "+h.units)
	h.reboot(t, h.relay.Cut)
	defer h.relay.Join()
	h.within(t, bootTimeout, "until systemctl is-active multi-user.target; do sleep 0.2; done")
	const statuses = "systemctl show --property StatusText --value "
	t.Logf("multi-user.target is reached; each role says\n%s", h.run(t, fmt.Sprintf(
		`until [ "$(%[1]s | grep -c '^waiting for the database since [0-9][0-9]:')" = 4 ]; do sleep 0.5; done; %[1]s`, statuses+h.units)))
	if got := h.states(t, h.units); got != "activating" {
		t.Errorf("without PostgreSQL the roles are %s", got)
	}

	h.relay.Join()
	// Each unit is active: is-active would accept one of them.
	t.Logf("with PostgreSQL, each role says\n%s", h.run(t, fmt.Sprintf(
		`until [ "$(systemctl is-active %[1]s | sort -u)" = active ]; do sleep 0.5; done; %[2]s`, h.units, statuses+h.units)))
	// The mapper is ready after a round in which images may have failed; it tries those again.
	for line := range strings.Lines(mapped) { // more may be mapped by now: of shards that were begun meanwhile
		image, _, _ := strings.Cut(line, " ")
		h.run(t, "until [ -b "+image+" ]; do sleep 0.5; done")
	}
	_, err := h.src.Compare(t.Context(), h.client(t), h.gone, func(int) {})
	expect.NoError(t, err)
}

// logsFields reads the journal as an operator's tools do.
func (h *host) logsFields(t *testing.T) {
	name := h.shards[0].Name
	record := h.run(t, "journalctl --sync; journalctl --output json --lines 1 WINERY_SHARD="+name)
	for _, want := range []string{`"WINERY_SHARD":"` + name, `"WINERY_ROLE":"`, `"SYSLOG_IDENTIFIER":"winery-`, `"PRIORITY":"6"`, `shard=` + name} {
		if !strings.Contains(record, want) {
			t.Errorf("no %s in %s", want, record)
		}
	}
	h.run(t, `echo debug >/etc/winery/log-level; systemctl reload winery-writer
		until journalctl --output cat PRIORITY=7 WINERY_ROLE=writer | grep . >/dev/null; do sleep 0.5; done
		rm /etc/winery/log-level; systemctl reload winery-writer`)
	limits := h.run(t, `journalctl --output cat --grep '^starting' WINERY_ROLE=writer | tail -n 1`)
	if !strings.Contains(limits, "limits.threads=3072 limits.memory=4294967296 limits.files=16384") {
		t.Errorf("the writer starts with %s", limits)
	}
}
