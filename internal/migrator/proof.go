// SPDX-License-Identifier: GPL-3.0-or-later

package migrator

import (
	"context"
	"errors"
	"fmt"
	"io"

	"winery/format"
	"winery/internal/containment"
	"winery/pool"
	"winery/sharedbase"
)

// claimed is the proof for a copy of the image of a claimed shard.
type claimed struct {
	*sharedbase.ImageClaim
	original format.Reader
	m        *Migrator
}

// MayReplace implements [pool.ReplaceProof]. It reads the whole original: a damaged
// one replaces only an unfinished image. A copy of the same image may be replaced:
// what it has more than the original was erased there since.
func (p claimed) MayReplace(ctx context.Context, existing io.ReaderAt, size int64) error {
	to := p.m.To.Format()
	unfinished, err := to.Unfinished(existing, size, p.Name())
	if err != nil || unfinished {
		return err
	}
	meter := p.m.Progress.NewMeter(Checking, p.Name(), p.original.Info().ObjectsSize)
	if _, err := p.original.Verify(ctx, meter.Add); err != nil {
		return fmt.Errorf("the image that would replace it, in pool %s: %w", p.m.From.Name(), err)
	}
	r, err := to.Open(existing, size, p.Name())
	if err == nil && r.Fingerprint() == p.original.Fingerprint() {
		return nil
	}
	return containment.Replacement{
		Base: p.m.Base, ShardID: p.ID(), Shard: p.Name(), Format: to, Keys: p.original.Keys(ctx),
	}.Contains(ctx, existing, size)
}

// unknown is the proof for a copy of an image that the database does not know.
type unknown struct {
	m     *Migrator
	image string
}

// Verify implements [pool.Proof].
func (p unknown) Verify(ctx context.Context) error {
	_, err := p.m.Base.ShardByName(ctx, p.image)
	switch {
	case errors.Is(err, sharedbase.ErrNotFound):
		return nil
	case err == nil:
		err = fmt.Errorf("shard %s was added to the database meanwhile: run the command again", p.image)
	}
	return err
}

// MayReplace implements [pool.ReplaceProof]: only an unfinished image may be
// replaced.
func (p unknown) MayReplace(_ context.Context, existing io.ReaderAt, size int64) error {
	unfinished, err := p.m.To.Format().Unfinished(existing, size, p.image)
	if err == nil && !unfinished {
		err = fmt.Errorf("%w: the database has no shard of this name, so neither image can be checked", pool.ErrExists)
	}
	return err
}
