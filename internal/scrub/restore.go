// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"winery/format"
	"winery/internal/pace"
	"winery/pool"
	"winery/sharedbase"
)

// others yields the names of the other pools, in their order.
func (s *Scrubber) others(sh sharedbase.Shard) []string {
	names := slices.Sorted(maps.Keys(s.Pools))
	return slices.DeleteFunc(names, func(name string) bool { return name == sh.Pool })
}

// restore replaces damaged parts of a readonly shard's image, from images of the
// same name in other pools; where all objects are intact, from what they tell. A whole
// image that only differs from its record is recorded.
func (s *Scrubber) restore(ctx context.Context, sh sharedbase.Shard, findings []Finding) (done []string, why error) {
	r := &restoration{Scrubber: s, shard: sh}
	outside := false // damage that is no object's
	for _, f := range findings {
		r.head = r.head || f.Kind == HeadDamaged || f.Kind == RecordDiffers
		outside = outside || f.Kind == ImageDamaged
	}
	r.ids = objectsOf(findings, ObjectDamaged, NotInImage)
	if !r.head && len(r.ids) == 0 {
		if !outside {
			return nil, nil
		}
		return s.mend(ctx, sh)
	}
	var err error
	if r.record, r.recorded, err = s.Base.ImageRecord(ctx, sh.ID); err != nil {
		return nil, err
	}
	found := false
	for _, name := range s.others(sh) {
		err := r.from(ctx, name)
		found = found || !errors.Is(err, pool.ErrNotFound)
		if err != nil && !errors.Is(err, pool.ErrNotFound) {
			why = errors.Join(why, fmt.Errorf("restoring from pool %s: %w", name, err))
		}
	}
	if !found {
		why = fmt.Errorf("no other pool has an image of shard %s", sh.Name)
	}
	if r.head && onlyRecordDiffers(findings) {
		renewed, err := s.renew(ctx, sh)
		if err == nil {
			return renewed, nil
		}
		why = errors.Join(why, err)
	}
	return r.done, why
}

// mend has the format write what the objects tell of the rest of the image.
func (s *Scrubber) mend(ctx context.Context, sh sharedbase.Shard) (done []string, why error) {
	why = s.edit(ctx, sh, func(ctx context.Context, e pool.Editor) error {
		mended, err := s.Pools[sh.Pool].Format().Mend(ctx, e, e.Size(), sh.Name)
		if !mended || err != nil {
			return err
		}
		done = []string{"restored heads and checksums of the image, from its objects, which are all intact"}
		return e.Commit(ctx)
	})
	return done, why
}

type restoration struct {
	*Scrubber
	shard    sharedbase.Shard
	record   sharedbase.ImageRecord
	recorded bool
	head     bool
	ids      []sharedbase.ObjID // that were present when the shard was scrubbed
	done     []string
}

// from restores what the image in one other pool has.
func (r *restoration) from(ctx context.Context, name string) error {
	p := r.Pools[name]
	return pace.ReadImage(ctx, p, p.Open, r.shard.Name, r.Rate, func(from format.Reader) error {
		if its, own := p.Format().Name(), r.Pools[r.shard.Pool].Format().Name(); its != own {
			return fmt.Errorf("%w: the image in the other pool has format %s, the image of the shard has format %s", format.ErrLayout, its, own)
		}
		return r.edit(ctx, r.shard, func(ctx context.Context, e pool.Editor) error { return r.write(ctx, name, from, e) })
	})
}

// write restores in the image what another one, in the named pool, has.
func (r *restoration) write(ctx context.Context, name string, from format.Reader, e pool.Editor) error {
	if r.head {
		switch {
		case !r.recorded:
			return errors.New("the database has no record of the image: its header and hash function cannot be compared")
		case from.Fingerprint() != r.record.Fingerprint || from.Info().Objects != r.record.Objects:
			return sharedbase.ErrOtherImage
		}
		if err := from.RestoreHeadTo(ctx, e); err != nil {
			return err
		}
		if err := e.Commit(ctx); err != nil {
			return err
		}
		r.head = false
		r.done = append(r.done, "restored header and hash function from pool "+name)
	}
	// The mark of an object that was deleted since the scrub may be removed
	// already.
	ids, err := r.withStatus(ctx, r.shard, r.ids, sharedbase.ObjectStatus{Present: true})
	if err != nil || len(ids) == 0 {
		return err
	}
	n, err := from.RestoreTo(ctx, e, e.Size(), r.shard.Name, ids)
	if n == 0 {
		return err
	}
	if committed := e.Commit(ctx); committed != nil {
		return errors.Join(err, committed)
	}
	r.done = append(r.done, fmt.Sprintf("restored %d objects from pool %s", n, name))
	return err
}
