// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"errors"
	"maps"
	"slices"

	"winery/format"
	"winery/sharedbase"
)

// suspects are suspected inconsistencies. Objects may be deleted and erased
// during a scrub, so each suspect is checked again: first in the index and then
// in the image, because an object is erased in the image before its index row is
// removed.
type suspects struct {
	reader  format.Reader
	damaged map[sharedbase.ObjID]*format.DamageError // objects of the image
	absent  map[sharedbase.ObjID]bool                // objects of the index
	strange map[sharedbase.ObjID]bool                // objects of the image that the index does not have
	rest    map[int64]*format.DamageError            // by offset: what is not one object's
}

func newSuspects(r format.Reader) *suspects {
	return &suspects{
		reader: r, damaged: map[sharedbase.ObjID]*format.DamageError{}, rest: map[int64]*format.DamageError{},
		absent: map[sharedbase.ObjID]bool{}, strange: map[sharedbase.ObjID]bool{},
	}
}

// limit ends a scrub that finds only damage.
func (s *suspects) limit() error {
	if len(s.damaged)+len(s.absent)+len(s.strange)+len(s.rest) > most {
		return errMost
	}
	return nil
}

func (s *suspects) damage(d format.Damage) error {
	if d.ID == (sharedbase.ObjID{}) {
		s.rest[d.Offset] = d.DamageError
	} else {
		s.damaged[d.ID] = d.DamageError
	}
	return s.limit()
}

func (s *suspects) missing(id sharedbase.ObjID) error {
	s.absent[id] = true
	return s.limit()
}

func (s *suspects) stranger(id sharedbase.ObjID) error {
	s.strange[id] = true
	return s.limit()
}

// settle makes findings of the suspects that are real.
func (l *look) settle(ctx context.Context, s *suspects) error {
	if err := l.settleMapping(ctx, s); err != nil {
		return err
	}
	err := l.standings(ctx, keys(s.absent), func(id sharedbase.ObjID, is sharedbase.ObjectStatus) error {
		if !is.Present {
			return nil
		}
		begin, end := s.reader.EntryRange(id)
		for offset := range s.rest { // a damaged entry, whose object is unknown
			if begin <= offset && offset < end {
				delete(s.rest, offset)
			}
		}
		return l.find(NotInImage, id, "object %x is in the index, but not in the image (its entry would be at byte %d)", id, begin)
	})
	if err != nil {
		return err
	}
	if err := l.settleDamaged(ctx, s); err != nil {
		return err
	}
	return l.settleRest(ctx, s)
}

// settleMapping looks in the store for the objects that the mapping lacks.
func (l *look) settleMapping(ctx context.Context, s *suspects) error {
	if !l.Mapped || len(s.absent) == 0 {
		return nil
	}
	ids := keys(s.absent)
	reads, err := l.check(ctx, ids)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if errors.Is(reads[i], format.ErrNotFound) {
			continue
		}
		delete(s.absent, id)
		if damage := new(format.DamageError); errors.As(reads[i], &damage) {
			s.damaged[id] = damage
			continue
		}
		if err := l.find(ReadsDiffer, id, "object %x is missing in this host's mapping of the image; the store has it", id); err != nil {
			return err
		}
	}
	return nil
}

// settleDamaged settles objects that the image has: damaged ones, and strangers.
// Only where the index said the same before and after the image was read, is
// what was read to be judged.
func (l *look) settleDamaged(ctx context.Context, s *suspects) error {
	doubtful := maps.Clone(s.strange)
	for id := range s.damaged {
		doubtful[id] = true
	}
	for ids := keys(doubtful); len(ids) > 0; {
		some := ids[:min(len(ids), atOnce)]
		ids = ids[len(some):]
		before, err := l.Base.ObjectStatuses(ctx, l.shard.ID, some)
		if err != nil {
			return err
		}
		reads, err := l.check(ctx, some)
		if err != nil {
			return err
		}
		after, err := l.Base.ObjectStatuses(ctx, l.shard.ID, some)
		if err != nil {
			return err
		}
		for i, id := range some {
			if before[i] != after[i] {
				ids = append(ids, id)
				continue
			}
			if err := l.judge(id, after[i], s.damaged[id], reads[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// check reads objects as they are in the store now, and returns what
// [format.Reader.Check] says of each.
func (l *look) check(ctx context.Context, ids []sharedbase.ObjID) ([]error, error) {
	reads := make([]error, len(ids))
	err := l.again(ctx, func(ctx context.Context, r format.Reader) error {
		for i, id := range ids {
			_, reads[i] = r.Check(ctx, id)
			if reads[i] != nil && !errors.Is(reads[i], format.ErrNotFound) && !errors.As(reads[i], new(*format.DamageError)) {
				return reads[i]
			}
		}
		return nil
	})
	return reads, err
}

// judge turns a suspect, first read as damaged or not, into a finding, from its
// current status and a second read.
func (l *look) judge(id sharedbase.ObjID, is sharedbase.ObjectStatus, first *format.DamageError, now error) error {
	switch {
	case is.Erasing, errors.Is(now, format.ErrNotFound) && !is.Present:
		return nil
	case errors.Is(now, format.ErrNotFound):
		return l.find(NotInImage, id, "object %x is in the index, but disappeared from the image during the scrub", id)
	case now != nil:
		return l.find(ObjectDamaged, id, "%v", now)
	case first != nil:
		return l.find(ReadsDiffer, id, "%v; a second read from the store found no damage", first)
	case is == sharedbase.ObjectStatus{}:
		return l.find(NotErased, id, "object %x is in the image, but not in the index: it was deleted and not erased, or its row was lost", id)
	}
	return nil
}

// settleRest reads the image a second time for damage that no object explains.
func (l *look) settleRest(ctx context.Context, s *suspects) error {
	if len(s.rest) == 0 {
		return nil
	}
	return l.again(ctx, func(ctx context.Context, r format.Reader) error {
		_, err := r.Inspect(ctx, nil, func(d format.Damage) error {
			if d.ID == (sharedbase.ObjID{}) && s.rest[d.Offset] != nil {
				return l.find(ImageDamaged, d.ID, "%v", d.DamageError)
			}
			return nil
		})
		return err
	})
}

// keys are a map's, in their order.
func keys[V any](of map[sharedbase.ObjID]V) []sharedbase.ObjID {
	return slices.SortedFunc(maps.Keys(of), func(a, b sharedbase.ObjID) int { return slices.Compare(a[:], b[:]) })
}
