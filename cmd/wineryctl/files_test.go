// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"winery/test/expect"
)

// A named symbolic link is followed; links below a directory are not.
func TestFilesOfLinks(t *testing.T) {
	t.Chdir(t.TempDir())
	expect.NoError(t, os.MkdirAll("tree/sub", 0o700))
	for _, name := range []string{"tree/a", "tree/sub/b"} {
		expect.NoError(t, os.WriteFile(filepath.FromSlash(name), nil, 0o600))
	}
	expect.NoError(t, os.Symlink("tree", "link"))
	expect.NoError(t, os.Symlink("tree/a", "file"))
	expect.NoError(t, os.Symlink("sub", "tree/inner"))
	var paths []string
	for f := range files([]string{"link", "file", "tree/sub"}) {
		expect.NoError(t, f.err)
		paths = append(paths, f.path)
	}
	if want := []string{"link/a", "link/sub/b", "file", "tree/sub/b"}; !slices.Equal(paths, want) {
		t.Errorf("%q, want %q", paths, want)
	}
}
