// SPDX-License-Identifier: GPL-3.0-or-later

package migrator

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/progress"
	"winery/pool"
	"winery/sharedbase"
)

// ErrSkipped marks the reason why an image was not moved.
var ErrSkipped = errors.New("skipped")

// Migrator moves images. Base, From and To must be set, and From be another
// pool than To. Any number may work at once.
type Migrator struct {
	Base     *sharedbase.SharedBase
	From, To pool.Pool
	// NoTransfer copies nothing: the copy must be there.
	NoTransfer bool
	// NoRecord leaves the database unchanged.
	NoRecord bool
	// Rate limits what is read of images, by all that share it, in both pools, and what is
	// uploaded. May be nil.
	Rate *rate.Limiter
	// Progress may be nil.
	Progress progress.Func
}

// The tasks, in their order.
const (
	Checking  progress.Task = "checking the original of" // only before an image is replaced
	Copying   progress.Task = "copying"
	Encoding  progress.Task = "encoding" // instead, where the formats differ
	Verifying progress.Task = "verifying"
)

// Moved says what Migrate did.
type Moved struct {
	Objects  int64 // in the copy
	Bytes    int64 // of the image in use
	Copied   bool  // false: the copy was there
	Recorded bool  // the database has the new pool

	record *sharedbase.ImageRecord // of a copy in another format
}

// Migrate moves an image. After any failure the shard's row in the database is
// unchanged. ErrSkipped if the shard is in To already, or is not in From, or not
// in a state to be moved; *format.DamageError if the image is damaged;
// sharedbase.ErrOtherImage if it is not the one that was packed;
// sharedbase.ErrImageClaimed or pool.ErrInUse while another process changes it.
func (m *Migrator) Migrate(ctx context.Context, name string) (moved Moved, err error) {
	_, known, err := m.movable(ctx, name)
	if err != nil {
		return moved, err
	}
	if !known {
		return moved, m.provide(ctx, name, func(format.Reader) pool.ReplaceProof { return unknown{m, name} }, &moved)
	}
	err = m.Base.WithImage(ctx, name, func(ctx context.Context, claim *sharedbase.ImageClaim) error {
		if _, _, err := m.movable(ctx, name); err != nil {
			return err // moved before it was claimed
		}
		err := m.provide(ctx, name, func(original format.Reader) pool.ReplaceProof {
			return claimed{claim, original, m}
		}, &moved)
		if err != nil || m.NoRecord {
			return err
		}
		err = claim.MoveShard(ctx, m.To.Name(), moved.record)
		moved.Recorded = err == nil
		return err
	})
	return moved, err
}

// encodes reports whether the pools' images have different formats.
func (m *Migrator) encodes() bool { return m.From.Format().Name() != m.To.Format().Name() }

// movable returns no error where the database has the shard in From, in a state in which
// it may be moved, or does not know it and is not to be told of it. known is false in the
// latter case.
func (m *Migrator) movable(ctx context.Context, name string) (s sharedbase.Shard, known bool, err error) {
	s, err = m.Base.ShardByName(ctx, name)
	switch {
	case errors.Is(err, sharedbase.ErrNotFound) && m.NoRecord:
		return s, false, nil
	case errors.Is(err, sharedbase.ErrNotFound):
		err = fmt.Errorf("%w: the database has no shard of this name; import the image first", ErrSkipped)
	case err != nil:
	case s.Pool == m.To.Name():
		err = fmt.Errorf("%w: the database records the shard in pool %s already", ErrSkipped, s.Pool)
	case s.Pool != m.From.Name():
		err = fmt.Errorf("%w: the database has it in pool %s", ErrSkipped, s.Pool)
	case !m.NoRecord && s.State != sharedbase.StateReadOnly, !s.State.ImageAvailable():
		err = fmt.Errorf("%w: the shard is %s; it can be moved once it is %s", ErrSkipped, s.State, sharedbase.StateReadOnly)
	}
	return s, true, err
}
