// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"winery/test/expect"
)

// maxCommands is how many commands a first install may take.
const maxCommands = 10

// TestFirstInstall runs the commands of docs/install.md on a Debian that has no more
// than the packages that the first of them installs: the machine has no network.
func TestFirstInstall(t *testing.T) {
	overlay := t.TempDir()
	found, err := filepath.Glob("../../dist/winery_*.deb")
	expect.NoError(t, err)
	if len(found) != 1 {
		t.Fatalf("dist has the packages %q; run make package", found)
	}
	output(t, "install", "-D", "-t", filepath.Join(overlay, "root"), found[0])
	m := boot(t, overlay, nil)
	// What Debian does when it installs PostgreSQL.
	m.run(t, "pg_createcluster --start $(ls /usr/lib/postgresql) main")
	m.run(t, "rm -rf /var/lib/apt/lists/*")

	commands := firstInstall(t)
	if len(commands) > maxCommands {
		t.Errorf("%d commands, want at most %d", len(commands), maxCommands)
	}
	id := ""
	began := time.Now()
	for _, command := range commands {
		out := m.run(t, "cd /root; "+strings.ReplaceAll(command, "SHA256", id))
		first, _, _ := strings.Cut(command, "\n")
		t.Logf("%.1f s: %s\n%s", time.Since(began).Seconds(), first, out)
		if strings.HasPrefix(command, "wineryctl put") {
			id, _, _ = strings.Cut(out, " ")
		}
		if strings.HasPrefix(command, "wineryctl get") && !strings.Contains(out, "Debian") {
			t.Errorf("the object is %q", out)
		}
	}
	// The document's last command: exit status 0 is "well".
	m.run(t, "wineryctl --config /etc/winery/winery.yml status")
	part(t, "the roles start while the pool's file server is unavailable, and work once it is mounted", m.mountsLater)
}

// mountsLater puts the pool on a mount that fails, starts the roles, the mapper as
// docs/install.md says for NFS, and corrects the mount. systemd treats a start at boot
// the same.
func (m *machine) mountsLater(t *testing.T) {
	const roles = "winery-writer winery-packer@shards winery-rbd-mapper winery-cleaner"
	text, err := os.ReadFile("../../docs/install.md")
	expect.NoError(t, err)
	_, nfs, _ := strings.Cut(string(text), "\n## Images on NFS\n")
	blocks := strings.Split(nfs, "```\n")
	if len(blocks) != 3 {
		t.Fatalf("docs/install.md has %d parts about NFS, want 3", len(blocks))
	}
	m.run(t, "mkdir /etc/systemd/system/winery-rbd-mapper.service.d; cat >/etc/systemd/system/winery-rbd-mapper.service.d/override.conf <<END\n"+blocks[1]+"END\n")
	m.run(t, fmt.Sprintf(`systemctl stop %[1]s
		wineryctl --config /etc/winery/winery.yml shards seal --pool-name shards
		mv /srv/winery /srv/server; touch /srv/file; mkdir /srv/winery
		echo "/srv/file /srv/winery none bind,_netdev 0 0" >/etc/fstab; systemctl daemon-reload
		if systemctl start srv-winery.mount; then exit 1; fi
		systemctl start --no-block %[1]s
		until [ "$(systemctl show --property StatusText --value %[1]s | grep -c "^waiting for a pool since")" = 4 ]; do sleep 0.5; done
		sed -i s:/srv/file:/srv/server: /etc/fstab; systemctl daemon-reload; mount /srv/winery
		until [ "$(systemctl is-active %[1]s | sort -u)" = active ]; do sleep 0.5; done
		until find /srv/server/shards -maxdepth 1 -type f -perm 0400 | grep . >/dev/null; do sleep 0.5; done # packed and mapped
		[ "$(stat -c %%U /proc/$(systemctl show --property MainPID --value winery-rbd-mapper))" = winery ]`, roles))
}

// firstInstall returns the commands in the first block of docs/install.md.
func firstInstall(t *testing.T) (commands []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/install.md")
	expect.NoError(t, err)
	_, block, _ := strings.Cut(string(text), "```\n")
	block, _, _ = strings.Cut(block, "```\n")
	until := "" // the end of a here-document
	for line := range strings.Lines(block) {
		if until == "" {
			commands = append(commands, line)
			if _, word, here := strings.Cut(strings.TrimSpace(line), "<<'"); here {
				until = strings.TrimSuffix(word, "'") + "\n"
			}
			continue
		}
		commands[len(commands)-1] += line
		if line == until {
			until = ""
		}
	}
	return commands
}
