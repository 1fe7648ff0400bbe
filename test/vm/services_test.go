// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"net/url"
	"path/filepath"
	"regexp"
	"testing"

	"winery/test/cephtest"
	"winery/test/expect"
)

// services lays the configuration of Ceph's client into overlay and returns the
// loopback ports of the host that a machine needs: those of Ceph's daemons and
// of the PostgreSQL of dsn.
func services(t *testing.T, overlay, dsn string) (ports []string) {
	t.Helper()
	ceph := cephtest.Connect(t)
	command := func(command map[string]any) string {
		return string(cephtest.Command(t, ceph, command))
	}
	write(t, filepath.Join(overlay, "etc/ceph/ceph.conf"), command(map[string]any{"prefix": "config generate-minimal-conf"}))
	write(t, filepath.Join(overlay, "etc/ceph/ceph.client.admin.keyring"),
		command(map[string]any{"prefix": "auth get", "entity": "client.admin"}))

	seen := map[string]bool{}
	address := regexp.MustCompile(`127\.0\.0\.1:([1-9][0-9]*)`)
	for _, of := range []string{"mon dump", "mgr dump", "osd dump"} {
		for _, match := range address.FindAllStringSubmatch(command(map[string]any{"prefix": of, "format": "json"}), -1) {
			seen[match[1]] = true
		}
	}
	server, err := url.Parse(dsn)
	expect.NoError(t, err)
	seen[server.Port()] = true
	for port := range seen {
		ports = append(ports, port)
	}
	return ports
}
