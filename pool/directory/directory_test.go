// SPDX-License-Identifier: GPL-3.0-or-later

package directory_test

import (
	"testing"

	"winery/pool"
	"winery/pool/directory"
	"winery/pool/pooltest"
)

func TestConformance(t *testing.T) {
	for name, modes := range map[string]bool{"permissions": true, "no permissions": false} {
		t.Run(name, func(t *testing.T) {
			pooltest.Run(t, func(t *testing.T) pool.Pool { return newPool(t, t.TempDir(), modes) })
		})
	}
}

func newPool(t *testing.T, base string, modes bool) *directory.Pool {
	t.Helper()
	p, err := directory.New(directory.Settings{BaseDirectory: base, PoolName: "shards", UsePermissions: modes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}
