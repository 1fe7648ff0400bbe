// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"context"
	"testing"

	"winery/rbd"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func removeAll(t *testing.T, p *rbd.Pool) {
	t.Helper()
	names, err := p.List(context.Background())
	must(t, err)
	for _, name := range names {
		must(t, p.Remove(context.Background(), name))
	}
}
