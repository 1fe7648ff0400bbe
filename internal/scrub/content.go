// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"winery/format"
	"winery/pool"
	"winery/sharedbase"
)

// RestoreObject writes an object that is damaged in the image of its shard, or cannot be
// read (EIO), from its content, and reads it back by a new handle. It returns the shard, and false
// where the object was whole. sharedbase.ErrNotFound: the index has no such
// object. The shard stays quarantined until a repair finds nothing.
func (s *Scrubber) RestoreObject(ctx context.Context, content []byte) (sh sharedbase.Shard, restored bool, err error) {
	id := sharedbase.ObjID(sha256.Sum256(content))
	found, err := s.Base.Locate(ctx, []sharedbase.ObjID{id})
	if err != nil {
		return sh, false, err
	}
	if found[0].ShardID == 0 {
		return sh, false, fmt.Errorf("object %x: %w: the index does not have it", id, sharedbase.ErrNotFound)
	}
	if sh, err = s.Base.ShardByID(ctx, found[0].ShardID); err != nil {
		return sh, false, err
	}
	if !sh.State.ImageAvailable() {
		return sh, false, fmt.Errorf("object %x is in the table of shard %s, which is %s: only an object in an image can be restored", id, sh.Name, sh.State)
	}
	p := s.Pools[sh.Pool]
	if p == nil {
		return sh, false, fmt.Errorf("object %x is in pool %q, which is not configured", id, sh.Pool)
	}
	err = s.edit(ctx, sh, func(ctx context.Context, e pool.Editor) error {
		present, err := s.withStatus(ctx, sh, []sharedbase.ObjID{id}, sharedbase.ObjectStatus{Present: true})
		if err != nil {
			return err
		}
		if len(present) == 0 {
			return fmt.Errorf("object %x: %w: it was deleted meanwhile", id, sharedbase.ErrNotFound)
		}
		err = check(ctx, p.Format(), e, e.Size(), sh.Name, id)
		if err == nil || !errors.As(err, new(*format.DamageError)) && !errors.Is(err, format.ErrNotFound) && !errors.Is(err, unix.EIO) {
			return err
		}
		restored = true
		if err := p.Format().RestoreContent(ctx, e, e.Size(), sh.Name, content); err != nil {
			return err
		}
		return e.Commit(ctx)
	})
	if err != nil || !restored {
		return sh, false, err
	}
	img, err := p.Open(ctx, sh.Name)
	if err != nil {
		return sh, false, err
	}
	return sh, true, errors.Join(check(ctx, p.Format(), img, img.Size(), sh.Name, id), img.Close())
}

func check(ctx context.Context, f format.Format, img io.ReaderAt, size int64, name string, id sharedbase.ObjID) error {
	r, err := f.Open(img, size, name)
	if err != nil {
		return err
	}
	_, err = r.Check(ctx, id)
	return err
}
