// SPDX-License-Identifier: GPL-3.0-or-later

// Package packaging_test checks the packages that "make package" has made in dist,
// and the man pages and completions in dist/manual: install them for real, and
// build them again.
package packaging_test

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"winery/test/expect"
)

var (
	programs = []string{"winery-writer", "winery-packer", "winery-rbd-mapper", "winery-cleaner", "wineryctl"}
	units    = []string{"winery.target", "winery-writer.service", "winery-writer.socket", "winery-packer@.service", "winery-rbd-mapper.service", "winery-cleaner.service"}
)

// deb returns the path of a package in dist.
func deb(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob("../dist/" + name + "_*.deb")
	expect.NoError(t, err)
	if len(found) != 1 {
		t.Fatalf("dist has the packages %q of %s; run make package", found, name)
	}
	path, err := filepath.Abs(found[0])
	expect.NoError(t, err)
	return path
}

// run runs a program of this machine, and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestLintian(t *testing.T) {
	t.Parallel()
	// lintian leaves files of its database in TMPDIR.
	run(t, "env", "TMPDIR="+t.TempDir(), "lintian", "--allow-root", "--fail-on", "error,warning", deb(t, "winery"), deb(t, "winery-dbgsym"))
}

// TestDebugSymbols finds lines of the source of each program by its build id, as gdb
// does.
func TestDebugSymbols(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	run(t, "dpkg-deb", "--extract", deb(t, "winery"), root)
	run(t, "dpkg-deb", "--extract", deb(t, "winery-dbgsym"), root)
	for _, name := range programs {
		program, err := elf.Open(filepath.Join(root, "usr/bin", name))
		expect.NoError(t, err)
		defer program.Close()
		note, err := program.Section(".note.gnu.build-id").Data()
		expect.NoError(t, err)
		id := fmt.Sprintf("%x", note[16:]) // after the note's head and the name "GNU"
		symbols, err := elf.Open(filepath.Join(root, "usr/lib/debug/.build-id", id[:2], id[2:]+".debug"))
		expect.NoError(t, err)
		defer symbols.Close()
		if program.Section(".debug_info") != nil || program.Section(".symtab") != nil {
			t.Errorf("%s has debug symbols of its own", name)
		}
		if source := "winery/cmd/" + name + "/main.go"; !hasLines(t, symbols, source) {
			t.Errorf("%s: the debug symbols have no line of %s", name, source)
		}
	}
}

// hasLines reports whether debug symbols lead to a source file.
func hasLines(t *testing.T, symbols *elf.File, source string) bool {
	t.Helper()
	data, err := symbols.DWARF()
	expect.NoError(t, err)
	for units := data.Reader(); ; units.SkipChildren() {
		unit, err := units.Next()
		expect.NoError(t, err)
		if unit == nil {
			return false
		}
		lines, err := data.LineReader(unit)
		expect.NoError(t, err)
		if lines == nil {
			continue
		}
		for _, file := range lines.Files() {
			if file != nil && file.Name == source {
				return true
			}
		}
	}
}

// TestReproducible builds the packages again from a copy of the source, in another
// folder, time zone and language, and with another umask.
func TestReproducible(t *testing.T) {
	version := run(t, "dpkg-deb", "--field", deb(t, "winery"), "Version")
	date := run(t, "sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar --list --verbose --full-time --utc | sed -n '1s/.* \([0-9-]* [0-9:]*\) .*/\1/p'`, "sh", deb(t, "winery"))
	seconds := run(t, "date", "--utc", "--date", date+"Z", "+%s")
	cache, err := filepath.Abs("../.cache")
	expect.NoError(t, err)

	copied := t.TempDir()
	run(t, "sh", "-ec", `cd .. && git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
		xargs -0 cp --parents --no-dereference --target-directory "$1"`, "sh", copied)
	cmd := exec.Command("sh", "-c", `umask 077 && exec make --no-print-directory package CACHE="$1" VERSION="$2"`, "sh", cache, strings.TrimSuffix(version, "-1"))
	cmd.Dir = copied
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+seconds, "TZ=Asia/Kathmandu", "LC_ALL=C.UTF-8", "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"winery", "winery-dbgsym"} {
		first := deb(t, name)
		if second := filepath.Join(copied, "dist", filepath.Base(first)); digest(t, first) != digest(t, second) {
			t.Errorf("%s was built twice, and differs", filepath.Base(first))
		}
	}
}

func digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	expect.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	expect.NoError(t, err)
	return string(h.Sum(nil))
}
