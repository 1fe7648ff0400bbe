// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
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
