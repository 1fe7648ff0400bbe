// SPDX-License-Identifier: GPL-3.0-or-later

package directory_test

import (
	"io/fs"
	"os"
	"testing"

	"winery/pool/directory"
	"winery/pool/pooltest"
)

// TestModesOnNFS: on NFS 4, too, a draft replaces what lies under its name: an image
// whose packer could not record it, a reserved or a partial file.
func TestModesOnNFS(t *testing.T) {
	directory.UseFlock(t, pooltest.FlockOnNFS)
	for _, tt := range []struct {
		name  string
		modes bool
		mode  fs.FileMode
	}{
		{"finished", true, 0o400},
		{"partial", true, 0o600},
		{"unmapped", true, 0},
		{"without permissions", false, 0o644},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := t.TempDir()
			p := newPool(t, base, tt.modes)
			place(t, base, "one", tt.mode)
			pooltest.AfterKill(t, p, "one")
		})
	}
	t.Run("reserved", func(t *testing.T) {
		p := newPool(t, t.TempDir(), true)
		if err := p.Reserve(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		pooltest.AfterKill(t, p, "one")
	})
}

// TestModeOfAnothersLeftover: on a local file system a draft replaces a file that this
// process can only read. TestUnprivileged runs the part that matters.
func TestModeOfAnothersLeftover(t *testing.T) {
	base := os.Getenv(anotherUsers)
	if base == "" {
		return
	}
	pooltest.AfterKill(t, newPool(t, base, true), "leftover")
}
