// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"winery/test/expect"
)

// TestPackage installs the package where systemd runs and PostgreSQL does not: an
// installation starts nothing, an upgrade restarts the roles that run and waits for
// none of them, a removal stops them. (packaging tests what needs no systemd.)
func TestPackage(t *testing.T) {
	overlay, first := t.TempDir(), packageFile(t)
	// The same files as a newer version, not compressed: the machine is slow.
	newer := t.TempDir()
	output(t, "dpkg-deb", "--raw-extract", first, newer)
	output(t, "sed", "-i", "s/^Version: .*/Version: 9:1-1/", filepath.Join(newer, "DEBIAN/control"))
	expect.NoError(t, os.Remove(filepath.Join(newer, "DEBIAN/conffiles"))) // nfpm's has an empty line only
	output(t, "dpkg-deb", "--build", "-Znone", newer, filepath.Join(overlay, "newer.deb"))
	output(t, "cp", first, filepath.Join(overlay, "first.deb"))
	write(t, filepath.Join(overlay, "etc/winery/winery.yml"), `objstorage:
  cls: winery
  database: {db: "postgresql://127.0.0.1:1/winery"}
  shards_pools: [{type: directory, pool_name: shards, shard_max_size: 1000000, base_directory: /srv/winery}]
  shards_active_pool: shards
`)
	m := boot(t, overlay, nil)
	const all = "winery-writer winery-packer@shards winery-rbd-mapper winery-cleaner"
	states := func(units string) string { // each state once
		return strings.TrimSpace(m.run(t, "systemctl is-active "+units+" | sort -u || true"))
	}

	m.run(t, "dpkg --install /first.deb")
	if got := states("winery.target " + all); got != "inactive" {
		t.Errorf("after the installation: %s", got)
	}

	// Two roles wait for the database: they are not ready.
	m.run(t, "systemctl start --no-block winery-packer@shards winery-cleaner")
	pids := func() (packer, cleaner, writer string) {
		words := strings.Fields(m.run(t, "systemctl show --property MainPID --value winery-packer@shards winery-cleaner winery-writer"))
		return words[0], words[1], words[2]
	}
	var packer, cleaner string
	expect.Eventually(t, "two processes", func() bool {
		packer, cleaner, _ = pids()
		return packer != "0" && cleaner != "0"
	})
	if got := states("winery-packer@shards winery-cleaner"); got != "activating" {
		t.Errorf("without a database: %s", got)
	}

	m.run(t, "dpkg --install /newer.deb")
	expect.Eventually(t, "two other processes", func() bool {
		p, c, _ := pids()
		return p != "0" && p != packer && c != "0" && c != cleaner
	})
	if _, _, writer := pids(); writer != "0" {
		t.Error("the upgrade started the writer, which did not run")
	}

	m.run(t, "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d")
	packer, cleaner, _ = pids()
	m.run(t, "dpkg --install /first.deb && systemctl daemon-reload")
	if p, c, _ := pids(); p != packer || c != cleaner {
		t.Error("policy-rc.d refused restarts, and the roles were restarted")
	}
	m.run(t, "rm /usr/sbin/policy-rc.d")

	part(t, "a client that waits has the writer started again at a slow pace, until its configuration is right", m.pauses)

	m.run(t, "dpkg --remove winery")
	if got := states(all); got != "inactive" {
		t.Errorf("after the removal: %s", got)
	}
	if left := m.run(t, processes); left != "" {
		t.Errorf("after the removal there are the processes %s", left)
	}
	m.run(t, "dpkg --purge winery && ! test -e /etc/winery")
}

// pauses starts the writer by its socket, with a wrong flag.
func (m *machine) pauses(t *testing.T) {
	pauses := strings.Fields(m.run(t, `echo WINERY_WRITER_FLAGS=--wibble >/etc/default/winery
		systemctl start winery-writer.socket
		exec 3<>/dev/tcp/127.0.0.1/5003
		pauses() { journalctl --unit winery-writer --output short-unix | awk "/status=78/ { ended = \$1 } /: Starting / && ended { print \$1 - ended; ended = 0 }"; }
		until [ "$(pauses | wc -l)" -ge 2 ]; do sleep 0.5; done
		pauses
		rm /etc/default/winery
		until systemctl show --property StatusText winery-writer | grep "waiting for the database" >/dev/null; do sleep 0.5; done
		systemctl --quiet is-active winery-writer.socket
		systemctl stop winery-writer.socket winery-writer`))
	for _, pause := range pauses {
		if seconds, err := strconv.ParseFloat(pause, 64); err != nil || seconds < 2 {
			t.Errorf("the writer was started again after %q s, want at least 2: %v", pauses, err)
		}
	}
}

// processes prints the programs of Winery that run.
const processes = "readlink /proc/[0-9]*/exe | grep /winery || true"

// packageFile returns the path of the package.
func packageFile(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("../../dist/winery_*.deb")
	expect.NoError(t, err)
	if len(found) != 1 {
		t.Fatalf("dist has the packages %q; run make package", found)
	}
	return found[0]
}
