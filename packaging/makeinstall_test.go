// SPDX-License-Identifier: GPL-3.0-or-later

package packaging_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"winery/test/expect"
)

// TestMakeInstall: "make install" installs the files of the package under another
// prefix, and the units start the programs there.
func TestMakeInstall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, "make", "-C", "..", "--no-print-directory", "install", "DESTDIR="+dir, "PREFIX=/opt/winery")
	installed := names(run(t, "find", dir, "-type", "f", "-printf", "/%P\n"))
	packaged := names(run(t, "sh", "-c", `dpkg-deb --contents "$1" | sed -n 's/^-.* \././p'`, "sh", deb(t, "winery")))
	packaged = slices.DeleteFunc(packaged, func(name string) bool {
		return name == "copyright" || name == "changelog.Debian.gz" || name == "winery" // the last: lintian's overrides
	})
	if len(installed) < 40 || !slices.Equal(installed, packaged) {
		t.Errorf("make install installs\n%q\nthe package has\n%q", installed, packaged)
	}
	for _, unit := range units {
		text, err := os.ReadFile(filepath.Join(dir, "opt/winery/lib/systemd/system", unit))
		expect.NoError(t, err)
		for _, start := range regexp.MustCompile(`(?m)^ExecStart=(\S+)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(dir, start[1])); err != nil || !strings.HasPrefix(start[1], "/opt/") {
				t.Errorf("%s starts %s, which is not installed", unit, start[1])
			}
		}
	}
}

// TestMakeInstallLeadsOn: after README's commands, the units find their user and folders.
func TestMakeInstallLeadsOn(t *testing.T) {
	s := newSandbox(t)
	readme, err := os.ReadFile("../README.md")
	expect.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^make install\n(.*)\n`).FindSubmatch(readme)
	if commands == nil {
		t.Fatal("README has no commands after make install")
	}
	root, err := filepath.Abs("..")
	expect.NoError(t, err)
	s.run(t, `cd "$1"; make --no-print-directory install`, root)
	s.run(t, `printf '#!/bin/sh\n[ "$*" = daemon-reload ]\n' >/usr/local/sbin/systemctl; chmod +x /usr/local/sbin/systemctl`) // no systemd runs here
	s.run(t, string(commands[1]))
	if got := s.run(t, `install -m 0640 -g winery /usr/local/share/doc/winery/examples/winery.yml /etc/winery/
		stat --format %U:%G /etc/winery/winery.yml /var/cache/winery`); got != "root:winery\nwinery:winery" {
		t.Errorf("configuration and cache belong to %q", got)
	}
}

// names returns the sorted names of the files in a list of paths, without folders.
func names(list string) (names []string) {
	for path := range strings.Lines(list) {
		names = append(names, filepath.Base(strings.TrimSpace(path)))
	}
	slices.Sort(names)
	return names
}
