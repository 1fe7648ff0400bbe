// SPDX-License-Identifier: GPL-3.0-or-later

package imagebuild

import (
	"context"
	"io"
	"iter"

	"winery/internal/containment"
	"winery/internal/progress"
	"winery/sharedbase"
)

// proof is the pool's proof that an image may be made from a table with bytes of
// contents.
type proof struct {
	Job
	bytes int64
}

// Verify implements [pool.Proof].
func (p proof) Verify(ctx context.Context) error {
	if err := p.Claim.Verify(ctx); err != nil || p.Repairs == nil {
		return err
	}
	return p.Repairs.Verify(ctx)
}

// MayReplace implements [pool.ReplaceProof]: what the table holds, and holds
// undamaged, replaces the image.
func (p proof) MayReplace(ctx context.Context, existing io.ReaderAt, size int64) error {
	meter := p.Progress.NewMeter(Comparing, p.Claim.Name(), p.bytes)
	return containment.Replacement{
		Base: p.Base, ShardID: p.Claim.ID(), Shard: p.Claim.Name(), Format: p.Pool.Format(),
		Keys: p.keys(ctx, meter), Repair: p.Repairs != nil, Progress: meter,
	}.Contains(ctx, existing, size)
}

func (p proof) keys(ctx context.Context, meter *progress.Meter) iter.Seq2[sharedbase.ObjID, error] {
	return func(yield func(sharedbase.ObjID, error) bool) {
		for row, err := range p.Base.SoundRows(ctx, p.Claim) {
			meter.Add(row.Size)
			if !yield(row.Sum, err) {
				return
			}
		}
	}
}
