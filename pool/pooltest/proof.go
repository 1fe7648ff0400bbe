// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/test/expect"
)

// Anything is a [pool.ReplaceProof] for tests, which allows everything.
type Anything struct{}

// Verify implements [pool.Proof].
func (Anything) Verify(context.Context) error { return nil }

// MayReplace implements [pool.ReplaceProof].
func (Anything) MayReplace(context.Context, io.ReaderAt, int64) error { return nil }

// errLost is what the database says to a process that lost its claim. Numbers in it,
// of a socket that is unavailable or of a full disk, are not the pool's.
var errLost = fmt.Errorf("the claim is another's: %w", errors.Join(
	unix.ENOENT, unix.EEXIST, unix.ENOSPC, unix.EWOULDBLOCK, unix.EROFS, unix.ESHUTDOWN, unix.ETIMEDOUT, unix.EPERM))

// proof answers its nth question, 1 for the first, with errLost, and the others
// with nil.
type proof struct {
	nth, asked int
	existing   []byte // first bytes of the image that MayReplace got
}

func (p *proof) answer() error {
	if p.asked++; p.asked == p.nth {
		return errLost
	}
	return nil
}

func (p *proof) Verify(context.Context) error { return p.answer() }

func (p *proof) MayReplace(_ context.Context, existing io.ReaderAt, size int64) error {
	if _, err := existing.ReadAt(p.existing, size-int64(len(p.existing))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return p.answer()
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	wantErr(t, what, err, errLost)
	if !errors.As(err, new(pool.Refusal)) {
		t.Errorf("%s: not a refusal: %v", what, err)
	}
	for _, own := range []error{pool.ErrNotFound, pool.ErrNoPool, pool.ErrExists, pool.ErrFull, pool.ErrInUse, pool.ErrFenced, pool.ErrUnavailable} {
		if errors.Is(err, own) {
			t.Errorf("%s: the refusal is taken for the pool's own error: %v", what, err)
		}
	}
}

// refusedCreate: whichever question the proof refuses, Create leaves everything
// as it was. Where there is an image, the proof can read it.
func refusedCreate(t *testing.T, p pool.Pool) {
	finished(t, p, "probe", pattern(1, 10))
	all := &proof{}
	d, err := p.Create(t.Context(), "probe", 0, all)
	expect.NoError(t, err)
	questions := all.asked
	expect.NoError(t, d.Abort(t.Context()))
	expect.NoError(t, p.Remove(t.Context(), "probe", Anything{}))

	want := pattern(1, 5*mib+77)
	finished(t, p, "one", want)
	img := opened(t, p.Open)
	last := make([]byte, 4096)
	_, err = img.ReadAt(last, img.Size()-4096)
	if !errors.Is(err, io.EOF) {
		expect.NoError(t, err)
	}
	for nth := 1; nth <= questions; nth++ {
		for _, room := range []int64{0, 13 * mib} { // which the image has, and has not
			refuses := &proof{nth: nth, existing: make([]byte, 4096)}
			_, err := p.Create(t.Context(), "one", room, refuses)
			wantRefused(t, "Create", err)
			wantContent(t, p, "one", want)
			if nth == questions && string(refuses.existing) != string(last) {
				t.Error("the proof was given other bytes than the image's")
			}
		}
	}
	_, err = p.Create(t.Context(), "two", 0, &proof{nth: 1})
	wantRefused(t, "Create of another", err)
	wantList(t, p, "one")
}

// refusedCommit: a draft is never committed after its proof has become invalid.
func refusedCommit(t *testing.T, p pool.Pool) {
	late := &proof{}
	d, err := p.Create(t.Context(), "one", 0, late)
	expect.NoError(t, err)
	writeAt(t, d, pattern(1, 1000), 0)
	late.nth = late.asked + 1
	wantRefused(t, "Commit", d.Commit(t.Context()))
	expect.NoError(t, d.Abort(t.Context()))

	want := pattern(2, 500)
	finished(t, p, "one", want)
	wantContent(t, p, "one", want)
}

func refusedEdit(t *testing.T, p pool.Pool) {
	want := pattern(1, 1000)
	finished(t, p, "one", want)
	_, err := p.Edit(t.Context(), "one", &proof{nth: 1})
	wantRefused(t, "Edit", err)
	wantRefused(t, "Remove", p.Remove(t.Context(), "one", &proof{nth: 1}))
	wantContent(t, p, "one", want)
	e, err := p.Edit(t.Context(), "one", &proof{}) // the refused one keeps no lock
	expect.NoError(t, err)
	expect.NoError(t, e.Close())
}

// proofFunc is a proof that is verified by a function.
type proofFunc func() error

func (f proofFunc) Verify(context.Context) error { return f() }

// replacedMeanwhile: Remove does not remove an image that replaced the first one while
// the proof was verified. A pool with locks may refuse the replacement instead.
func replacedMeanwhile(t *testing.T, p pool.Pool) {
	want := pattern(2, 500)
	for nth, asked := 1, 1; nth <= asked; nth++ {
		finished(t, p, "one", pattern(1, 1000))
		var refused error
		asked = 0
		err := p.Remove(t.Context(), "one", proofFunc(func() error {
			switch asked++; {
			case asked == nth:
				refused = packAndRead(t, p, "one", want)
			case asked > nth && refused == nil:
				return errLost
			}
			return nil
		}))
		if refused != nil {
			wantErr(t, "Create meanwhile", refused, pool.ErrInUse)
			expect.NoError(t, err)
			wantList(t, p)
			continue
		}
		if !errors.Is(err, errLost) {
			wantErr(t, "Remove", err, pool.ErrInUse)
		}
		wantContent(t, p, "one", want)
	}
}

// noProof: nothing is destroyed without a proof.
func noProof(t *testing.T, p pool.Pool) {
	want := pattern(1, 1000)
	finished(t, p, "one", want)
	_, err := p.Create(t.Context(), "one", 0, nil)
	wantErr(t, "Create", err, pool.ErrNoProof)
	_, err = p.Edit(t.Context(), "one", nil)
	wantErr(t, "Edit", err, pool.ErrNoProof)
	wantErr(t, "Remove", p.Remove(t.Context(), "one", nil), pool.ErrNoProof)
	wantContent(t, p, "one", want)
}
