// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import (
	"testing"

	"winery/pool"
	"winery/test/expect"
)

// edit erases ranges that start and end at no boundary of any store.
func edit(t *testing.T, p pool.Pool) {
	want := pattern(1, 2*mib)
	finished(t, p, "one", want)
	expect.NoError(t, p.Map(t.Context(), "one"))

	e, err := p.Edit(t.Context(), "one", Anything{})
	expect.NoError(t, err)
	for _, r := range []struct{ from, to int }{{100, 101}, {70_000, 270_001}, {mib - 1, mib + 65_537}} {
		clear(want[r.from:r.to])
		writeAt(t, e, want[r.from:r.to], int64(r.from))
	}
	got := make([]byte, 300_000)
	if _, err := e.ReadAt(got, 0); err != nil || string(got) != string(want[:300_000]) {
		t.Errorf("the editor does not read what it wrote (%v)", err)
	}
	size := e.Size()
	if n, err := e.WriteAt([]byte{1}, size); err == nil {
		t.Errorf("writing past the end wrote %d bytes", n)
	}
	expect.NoError(t, e.Flush())
	expect.NoError(t, e.Commit(t.Context()))

	// A fresh handle sees it while the editor is still open: the cleaner
	// verifies before it lets go.
	wantContent(t, p, "one", want)

	// More work after a Commit, and another Commit.
	clear(want[mib+100_000 : mib+100_003])
	writeAt(t, e, want[mib+100_000:mib+100_003], mib+100_000)
	expect.NoError(t, e.Commit(t.Context()))
	wantContent(t, p, "one", want)
	expect.NoError(t, e.Close())
	expect.NoError(t, e.Close())

	wantContent(t, p, "one", want)
	img := opened(t, p.OpenMapped)
	sameBytes(t, img, want)
	if img.Size() != size {
		t.Errorf("the image's size became %d, was %d", img.Size(), size)
	}
}

func editAlone(t *testing.T, p pool.Pool) {
	finished(t, p, "one", pattern(1, 1000))
	e, err := p.Edit(t.Context(), "one", Anything{})
	expect.NoError(t, err)
	if second, err := p.Edit(t.Context(), "one", Anything{}); err == nil {
		second.Close()
		t.Error("two editors of one image at once")
	} else {
		wantErr(t, "second Edit", err, pool.ErrInUse)
	}
	expect.NoError(t, e.Close())
	e, err = p.Edit(t.Context(), "one", Anything{})
	expect.NoError(t, err)
	expect.NoError(t, e.Close())
}
