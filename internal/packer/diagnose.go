// SPDX-License-Identifier: GPL-3.0-or-later

package packer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"winery/format"
	"winery/internal/containment"
	"winery/internal/pace"
	"winery/internal/progress"
	"winery/sharedbase"
)

// maxDamaged is how often an image may turn out damaged, in this process,
// before its shard is quarantined: a store that does so three times is not to be
// tried for ever.
const maxDamaged = 3

// Diagnosing is the task after those of [winery/internal/imagebuild] where an image does
// not verify.
const Diagnosing progress.Task = "looking for damaged rows in the table of"

// diagnose finds out why an image cannot be written or does not verify; why is the
// error. Where the table is damaged, or the pool has an image that the table does not
// contain, a retry cannot help, and the shard is quarantined.
func (p *Packer) diagnose(ctx context.Context, claim *sharedbase.Claim, why error) error {
	if errors.Is(why, sharedbase.ErrDamagedRow) {
		return p.quarantine(ctx, claim, withExport(why, claim))
	}
	if errors.Is(why, containment.ErrNotContained) {
		return p.quarantine(ctx, claim, why)
	}
	if !errors.As(why, new(*format.DamageError)) {
		return why
	}
	damaged, err := p.damagedRows(ctx, claim)
	switch {
	case err != nil:
		return errors.Join(why, err)
	case damaged != nil:
		why = withExport(fmt.Errorf("the table is damaged; nothing was packed: %w", damaged), claim)
	case p.History.damages(claim.Name()) < maxDamaged:
		return why
	}
	return p.quarantine(ctx, claim, why)
}

// quarantinedError is why a shard was quarantined.
type quarantinedError struct{ error }

func (e quarantinedError) Unwrap() error { return e.error }

func (p *Packer) quarantine(ctx context.Context, claim *sharedbase.Claim, why error) error {
	p.Metrics.Quarantined("packer", claim.Pool())
	if err := p.Base.Quarantine(ctx, claim.ID(), why.Error()); err != nil {
		return errors.Join(why, err)
	}
	return quarantinedError{why}
}

// withExport adds the cure of a table with rows that are no objects.
func withExport(why error, claim *sharedbase.Claim) error {
	return fmt.Errorf("%w; move the damaged rows to files with `wineryctl shards export-damaged %s DIR`", why, claim.Name())
}

// damagedRows reads the table again, and says of its objects which first does
// not have the SHA-256 that it is stored under, and how many do not.
func (p *Packer) damagedRows(ctx context.Context, claim *sharedbase.Claim) (damaged, err error) {
	var first sharedbase.ObjID
	n := 0
	sum := sha256.New()
	meter := p.Progress.NewMeter(Diagnosing, claim.Name(), progress.Unknown)
	meter.Add(0) // the first row may take long
	_, err = p.Base.StreamTable(ctx, claim, func(id sharedbase.ObjID, _ int64, content io.Reader) error {
		sum.Reset()
		if _, err := io.Copy(sum, meter.Reader(pace.Stream(ctx, content, p.Rate))); err != nil {
			return err
		}
		if sharedbase.ObjID(sum.Sum(nil)) != id {
			if n++; n == 1 {
				first = id
			}
		}
		return nil
	})
	if err == nil && n > 0 {
		damaged = fmt.Errorf("%d objects have a checksum mismatch, the first is %x", n, first)
	}
	return damaged, err
}
