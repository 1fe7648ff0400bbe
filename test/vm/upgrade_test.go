// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/test/expect"
)

// packages lays the package into overlay, as first.deb and, with the same files, as a
// newer version that is not compressed, because the machine is slow.
func packages(t *testing.T, overlay string) {
	t.Helper()
	newer := t.TempDir()
	output(t, "dpkg-deb", "--raw-extract", packageFile(t), newer)
	expect.NoError(t, os.Remove(filepath.Join(newer, "DEBIAN/conffiles"))) // nfpm's has an empty line only
	output(t, "dpkg-deb", "--build", "-Znone", newer, filepath.Join(overlay, "first.deb"))
	output(t, "sed", "-i", "s/^Version: .*/Version: 9:1-1/", filepath.Join(newer, "DEBIAN/control"))
	output(t, "dpkg-deb", "--build", "-Znone", newer, filepath.Join(overlay, "newer.deb"))
}

// installs installs the package: it starts and enables nothing, and asks nothing.
func (h *host) installs(t *testing.T) {
	h.run(t, "dpkg --install /first.deb")
	if got := h.states(t, "winery.target winery-writer.socket "+h.units); got != "inactive" {
		t.Errorf("after the installation: %s", got)
	}
	if enabled := h.run(t, "systemctl is-enabled winery.target winery-writer.socket winery-writer winery-cleaner | sort -u || true"); enabled != "disabled\n" {
		t.Errorf("after the installation the units are %s", enabled)
	}
}

// isRemoved removes the package while every unit runs, and then purges it.
func (h *host) isRemoved(t *testing.T) {
	all := "winery.target winery-writer.socket " + h.units
	h.run(t, "rm /usr/sbin/policy-rc.d /root/60-winery.rules; systemctl start "+all)
	h.run(t, "dpkg --remove winery")
	if got := h.states(t, all); got != "inactive" {
		t.Errorf("after the removal the units are %s", got)
	}
	if left := h.run(t, processes+"; ls /etc/winery/winery.yml"); left != "/etc/winery/winery.yml\n" {
		t.Errorf("after the removal there are %s", left)
	}
	h.run(t, "dpkg --purge winery")
	if left := h.run(t, "find / -xdev -path /proc -prune -o -path /sys -prune -o -name '*winery*' -print; getent passwd winery | cut -d : -f 1"); left != "winery\n" {
		t.Errorf("after the purge there are\n%s", left)
	}
}

// states returns each state of units once.
func (h *host) states(t *testing.T, units string) string {
	t.Helper()
	return strings.TrimSpace(h.run(t, "systemctl is-active "+units+" | sort -u || true"))
}

// upgradesUnderLoad upgrades, and goes back to the version before, while clients
// store and read.
func (h *host) upgradesUnderLoad(t *testing.T) {
	h.run(t, "systemctl stop winery-cleaner")
	running := strings.ReplaceAll(h.units, " winery-cleaner", "")
	// runs has each process of the roles that run.
	runs := "runs() { systemctl show --property InvocationID --value " + running + " | grep . | sort; }; before=$(runs); "
	stop := h.load(t)
	for _, file := range []string{"/newer.deb", "/first.deb"} {
		h.run(t, runs+"dpkg --install "+file+`
			until [ -z "$(comm -12 <(echo "$before") <(runs))" ] && [ "$(systemctl is-active `+running+` | sort -u)" = active ]; do sleep 0.5; done`)
	}
	t.Logf("upgraded, and back: %d requests were answered, none failed or was refused", stop())
	if got := h.states(t, "winery-cleaner"); got != "inactive" {
		t.Errorf("the cleaner did not run, and is %s after the upgrade", got)
	}
	h.run(t, runs+`printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d
		/var/lib/dpkg/info/winery.postinst configure 9:1-1
		[ "$before" = "$(runs)" ] || { echo "policy-rc.d refused restarts, and the roles were restarted"; exit 1; }`)
}
