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

// candidates are suspected inconsistencies. Objects may be deleted and erased
// during a scrub, so each candidate is checked again: first in the index and then
// in the image, because an object is erased in the image before its index row is
// removed.
type candidates struct {
	reader    format.Reader
	damaged   map[sharedbase.ObjID]*format.DamageError // objects of the image
	absent    map[sharedbase.ObjID]bool                // objects of the index
	unindexed map[sharedbase.ObjID]bool                // objects of the image that the index does not have
	outside   map[int64]*format.DamageError            // by offset: damage that is not one object's
}

func newCandidates(r format.Reader) *candidates {
	return &candidates{
		reader: r, damaged: map[sharedbase.ObjID]*format.DamageError{}, outside: map[int64]*format.DamageError{},
		absent: map[sharedbase.ObjID]bool{}, unindexed: map[sharedbase.ObjID]bool{},
	}
}

// limit ends a scrub that finds only damage.
func (c *candidates) limit() error {
	if len(c.damaged)+len(c.absent)+len(c.unindexed)+len(c.outside) > maxFindings {
		return errTooMany
	}
	return nil
}

func (c *candidates) addDamage(d format.Damage) error {
	if d.ID == (sharedbase.ObjID{}) {
		c.outside[d.Offset] = d.DamageError
	} else {
		c.damaged[d.ID] = d.DamageError
	}
	return c.limit()
}

func (c *candidates) addAbsent(id sharedbase.ObjID) error {
	c.absent[id] = true
	return c.limit()
}

func (c *candidates) addUnindexed(id sharedbase.ObjID) error {
	c.unindexed[id] = true
	return c.limit()
}

// confirm makes findings of the candidates that are still inconsistent.
func (p *pass) confirm(ctx context.Context, c *candidates) error {
	if err := p.confirmMapping(ctx, c); err != nil {
		return err
	}
	err := p.eachStatus(ctx, keys(c.absent), func(id sharedbase.ObjID, is sharedbase.ObjectStatus) error {
		if !is.Present {
			return nil
		}
		begin, end := c.reader.EntryRange(id)
		for offset := range c.outside { // a damaged entry, whose object is unknown
			if begin <= offset && offset < end {
				delete(c.outside, offset)
			}
		}
		return p.find(NotInImage, id, "object %x is in the index, but not in the image (its entry would be at byte %d)", id, begin)
	})
	if err != nil {
		return err
	}
	if err := p.confirmDamaged(ctx, c); err != nil {
		return err
	}
	return p.confirmOutside(ctx, c)
}

// confirmMapping looks in the store for the objects that the mapping lacks.
func (p *pass) confirmMapping(ctx context.Context, c *candidates) error {
	if !p.Mapped || len(c.absent) == 0 {
		return nil
	}
	ids := keys(c.absent)
	reads, err := p.check(ctx, ids)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if errors.Is(reads[i], format.ErrNotFound) {
			continue
		}
		delete(c.absent, id)
		if damage := new(format.DamageError); errors.As(reads[i], &damage) {
			c.damaged[id] = damage
			continue
		}
		if err := p.find(ReadsDiffer, id, "object %x is missing in this host's mapping of the image; the store has it", id); err != nil {
			return err
		}
	}
	return nil
}

// confirmDamaged confirms objects that the image has: damaged and unindexed ones.
// Only where the index said the same before and after the image was read, is
// what was read to be judged.
func (p *pass) confirmDamaged(ctx context.Context, c *candidates) error {
	unsure := maps.Clone(c.unindexed)
	for id := range c.damaged {
		unsure[id] = true
	}
	for ids := keys(unsure); len(ids) > 0; {
		some := ids[:min(len(ids), batchSize)]
		ids = ids[len(some):]
		before, err := p.Base.ObjectStatuses(ctx, p.shard.ID, some)
		if err != nil {
			return err
		}
		reads, err := p.check(ctx, some)
		if err != nil {
			return err
		}
		after, err := p.Base.ObjectStatuses(ctx, p.shard.ID, some)
		if err != nil {
			return err
		}
		for i, id := range some {
			if before[i] != after[i] {
				ids = append(ids, id)
				continue
			}
			if err := p.judge(id, after[i], c.damaged[id], reads[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// check reads objects as they are in the store now, and returns what
// [format.Reader.Check] says of each.
func (p *pass) check(ctx context.Context, ids []sharedbase.ObjID) ([]error, error) {
	reads := make([]error, len(ids))
	err := p.again(ctx, func(ctx context.Context, r format.Reader) error {
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

// judge turns a candidate, first read as damaged or not, into a finding, from its
// current status and a second read.
func (p *pass) judge(id sharedbase.ObjID, is sharedbase.ObjectStatus, first *format.DamageError, now error) error {
	switch {
	case is.Erasing, errors.Is(now, format.ErrNotFound) && !is.Present:
		return nil
	case errors.Is(now, format.ErrNotFound):
		return p.find(NotInImage, id, "object %x is in the index, but disappeared from the image during the scrub", id)
	case now != nil:
		return p.find(ObjectDamaged, id, "%v", now)
	case first != nil:
		return p.find(ReadsDiffer, id, "%v; a second read from the store found no damage", first)
	case is == sharedbase.ObjectStatus{}:
		return p.find(NotErased, id, "object %x is in the image, but not in the index: it was deleted and not erased, or its row was lost", id)
	}
	return nil
}

// confirmOutside reads the image a second time for damage that no object explains.
func (p *pass) confirmOutside(ctx context.Context, c *candidates) error {
	if len(c.outside) == 0 {
		return nil
	}
	return p.again(ctx, func(ctx context.Context, r format.Reader) error {
		_, err := r.Inspect(ctx, nil, func(d format.Damage) error {
			if d.ID == (sharedbase.ObjID{}) && c.outside[d.Offset] != nil {
				return p.find(ImageDamaged, d.ID, "%v", d.DamageError)
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
