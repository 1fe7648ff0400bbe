// SPDX-License-Identifier: GPL-3.0-or-later

package pool

import (
	"context"
	"errors"
	"io"
)

// ErrNoProof is returned where a method that destroys is called without a [Proof].
var ErrNoProof = errors.New("no proof of the right to change the image")

// Proof is the right to change an image, without which no method destroys
// anything. It is not a yes that was given once: the pool asks it itself, when
// the image is locked, and before the first byte is touched.
type Proof interface {
	// Verify queries the database, and returns nil only if the caller may change
	// the image at this moment: its claim is valid, its lease has not expired,
	// and the shard is not quarantined, unless the claim is for a repair.
	Verify(ctx context.Context) error
}

// ReplaceProof is a Proof that also decides whether an image may be replaced.
type ReplaceProof interface {
	Proof
	// MayReplace returns nil only if no object is lost with the existing image,
	// whether it is complete, unfinished or empty: all its objects must be in the
	// image that replaces it, or deleted. existing has size bytes, and is valid
	// during the call.
	MayReplace(ctx context.Context, existing io.ReaderAt, size int64) error
}

// Refusal is the error of a proof, of the database for example. What it wraps is not the
// pool's: a pool must not translate it.
type Refusal struct{ error }

// Unwrap returns the proof's error.
func (r Refusal) Unwrap() error { return r.error }

func refusal(err error) error {
	if err != nil {
		return Refusal{err}
	}
	return nil
}

// Verify verifies a proof, and returns a [Refusal]; nil is ErrNoProof.
func Verify(ctx context.Context, proof Proof) error {
	if proof == nil {
		return Refusal{ErrNoProof}
	}
	return refusal(proof.Verify(ctx))
}

// MayReplace asks a proof whether an image may be replaced, and returns a [Refusal].
func MayReplace(ctx context.Context, proof ReplaceProof, existing Image) error {
	return refusal(proof.MayReplace(ctx, existing, existing.Size()))
}
