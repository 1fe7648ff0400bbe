// SPDX-License-Identifier: GPL-3.0-or-later

package migrator

import (
	"context"
	"errors"
	"fmt"

	"winery/format"
	"winery/internal/pace"
	"winery/pool"
	"winery/sharedbase"
)

// errDiffers: the image in To is whole, and another than the source.
var errDiffers = errors.New("the pool has a different image of this name, or one in which other objects were erased")

// provide makes sure that To has a copy of the image in From that verifies. What To
// has instead is replaced if the proof for a copy of the original allows it.
func (m *Migrator) provide(ctx context.Context, name string, proofOf func(original format.Reader) pool.ReplaceProof, moved *Moved) (err error) {
	source, err := m.From.Edit(ctx, name, proofOf(nil))
	if errors.Is(err, pool.ErrNotFound) && m.NoTransfer {
		if err = m.fenceWriter(ctx, name, proofOf(nil)); err == nil {
			err = m.verify(ctx, name, nil, moved) // the source was removed
		}
		return err
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	paced := pace.Reader(ctx, source, m.Rate)
	original, err := m.From.Format().Open(paced, source.Size(), name)
	if err != nil {
		return fmt.Errorf("pool %s: %w", m.From.Name(), err)
	}
	if err := m.checkRecord(ctx, name, original); err != nil {
		return fmt.Errorf("pool %s: %w", m.From.Name(), err)
	}
	proof := proofOf(original)
	if err = m.fenceWriter(ctx, name, proof); err == nil {
		err = m.verify(ctx, name, original, moved)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pool.ErrNotFound) && m.NoTransfer:
		return fmt.Errorf("%w: the image is not in pool %s", ErrSkipped, m.To.Name())
	case m.NoTransfer, !replaceable(err) && !errors.Is(err, pool.ErrInUse): // Create fences who uses it
		return err
	}
	if m.encodes() {
		err = m.encode(ctx, name, original, proof)
	} else {
		err = m.copy(ctx, name, paced, original.Info().Size, proof)
	}
	if err != nil {
		return err
	}
	moved.Copied = true
	err = m.verify(ctx, name, original, moved)
	if replaceable(err) {
		err = errors.Join(m.blame(ctx, original, err), m.To.Remove(context.WithoutCancel(ctx), name, proof))
	}
	return err
}

// fenceWriter makes sure that no earlier process, dead or stopped, can still change the
// image in To, which is about to be relied on. pool.ErrInUse if such a process is alive;
// pool.ErrNotFound.
func (m *Migrator) fenceWriter(ctx context.Context, name string, proof pool.Proof) error {
	e, err := m.To.Edit(ctx, name, proof)
	if err != nil {
		return fmt.Errorf("pool %s: %w", m.To.Name(), err)
	}
	return e.Close()
}

// checkRecord requires that the original is the image that was recorded: the record of
// another one would be replaced, and with it the last that told of the right one. A shard
// that the database does not know has no record.
func (m *Migrator) checkRecord(ctx context.Context, name string, original format.Reader) error {
	s, err := m.Base.ShardByName(ctx, name)
	if errors.Is(err, sharedbase.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return m.Base.CheckImage(ctx, s.ID, original.Info().Objects, original.Fingerprint())
}

// replaceable says whether an error of verify is about the image, not about the
// pool.
func replaceable(err error) bool {
	return errors.Is(err, pool.ErrNotFound) || errors.Is(err, errDiffers) || errors.As(err, new(*format.DamageError))
}

// verify reads all of the image in To, and compares it with the original, or
// where that is nil with what the index says.
func (m *Migrator) verify(ctx context.Context, name string, original format.Reader, moved *Moved) (err error) {
	img, err := m.To.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	defer func() {
		if err != nil {
			err = fmt.Errorf("pool %s: %w", m.To.Name(), err)
		}
	}()
	r, err := m.To.Format().Open(pace.Reader(ctx, img, m.Rate), img.Size(), name)
	if err != nil {
		return err
	}
	if original != nil && !m.encodes() && r.Fingerprint() != original.Fingerprint() {
		return errDiffers
	}
	found, err := r.Verify(ctx, m.Progress.NewMeter(Verifying, name, r.Info().ObjectsSize).Add)
	if err != nil {
		return err
	}
	moved.Objects, moved.Bytes = found.Objects, r.Info().Size
	if m.encodes() {
		moved.record = &sharedbase.ImageRecord{Objects: r.Info().Objects, Bytes: found.Bytes, Fingerprint: r.Fingerprint()}
	}
	switch {
	case original == nil:
		return m.compareIndex(ctx, name, r)
	case m.encodes():
		return sameObjects(ctx, original, r)
	}
	// A copy and its original can only differ in what was erased since.
	for _, err := range original.Keys(ctx) {
		if err != nil {
			return err
		}
		found.Objects--
	}
	if found.Objects != 0 {
		return errDiffers
	}
	return nil
}

// compareIndex requires of an image that it is the recorded one, unless its record is
// to be replaced, and that it has every object that the index has in the shard.
func (m *Migrator) compareIndex(ctx context.Context, name string, image format.Reader) error {
	s, err := m.Base.ShardByName(ctx, name)
	if err != nil {
		return err
	}
	if !m.encodes() {
		if err := m.Base.CheckImage(ctx, s.ID, image.Info().Objects, image.Fingerprint()); err != nil {
			return err
		}
	}
	inventory, err := image.Inventory(ctx)
	if err != nil {
		return err
	}
	defer inventory.Close()
	return markAll(inventory, m.Base.PresentObjects(ctx, s.ID, 0))
}

// blame says so if it is the original that is damaged, not the copy alone.
func (m *Migrator) blame(ctx context.Context, original format.Reader, err error) error {
	if _, damage := original.Verify(ctx, nil); damage != nil {
		return fmt.Errorf("pool %s: %w", m.From.Name(), damage)
	}
	return err
}
