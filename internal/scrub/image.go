// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"errors"
	"fmt"

	"winery/format"
	"winery/pool"
	"winery/sharedbase"
)

// image compares the shard's image with its record and with the index, and
// hashes its objects.
func (l *look) image(ctx context.Context) error {
	p := l.Pools[l.shard.Pool]
	if p == nil {
		return fmt.Errorf("shard %s: pool %s is not configured", l.shard.Name, l.shard.Pool)
	}
	open := p.Open
	if l.Mapped {
		open = p.OpenMapped
	}
	err := l.reading(ctx, open, l.opened)
	damage := new(format.DamageError)
	if l.Mapped && errors.As(err, &damage) && l.again(ctx, well) == nil {
		return l.find(ReadsDiffer, sharedbase.ObjID{}, "%v; a second read from the store found no damage", damage)
	}
	switch {
	case errors.Is(err, pool.ErrNotMapped): // says nothing of the store
	case errors.Is(err, pool.ErrNotFound):
		return l.absent(ctx)
	case errors.As(err, &damage):
		return l.find(HeadDamaged, sharedbase.ObjID{}, "%v", damage)
	}
	return err
}

// absent reports a missing image. If another pool has an image of the shard, the
// finding names the command that assigns it to the shard.
func (l *look) absent(ctx context.Context) error {
	text := fmt.Sprintf("the shard is %s, and pool %s has no image of it", l.shard.State, l.shard.Pool)
	for _, name := range l.others(l.shard) {
		img, err := l.Pools[name].Open(ctx, l.shard.Name)
		if errors.Is(err, pool.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := img.Close(); err != nil {
			return err
		}
		if l.shard.State == sharedbase.StateReadOnly {
			text += fmt.Sprintf("; `wineryctl shards migrate %s %s --image %s --no-transfer` verifies the one in pool %s and makes it the shard's",
				l.shard.Pool, name, l.shard.Name, name)
		}
	}
	return l.find(ImageMissing, sharedbase.ObjID{}, "%s", text)
}

// reading opens the image and calls fn with it.
func (l *look) reading(ctx context.Context, open func(context.Context, string) (pool.Image, error),
	fn func(context.Context, format.Reader) error) (err error) {
	img, err := open(ctx, l.shard.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	r, err := l.Pools[l.shard.Pool].Format().Open(paced{ctx, img, l.Rate}, img.Size(), l.shard.Name)
	if err != nil {
		return err
	}
	return fn(ctx, r)
}

func well(context.Context, format.Reader) error { return nil }

// again opens the image as it is in the store now.
func (l *look) again(ctx context.Context, fn func(context.Context, format.Reader) error) error {
	return l.reading(ctx, l.Pools[l.shard.Pool].Open, fn)
}

func (l *look) opened(ctx context.Context, r format.Reader) error {
	err := l.record(ctx, r)
	if l.Mapped && errors.Is(err, sharedbase.ErrOtherImage) && l.again(ctx, l.record) == nil {
		return l.find(ReadsDiffer, sharedbase.ObjID{}, "%v; a second read from the store found no damage", err)
	}
	if errors.Is(err, sharedbase.ErrOtherImage) {
		err = l.find(RecordDiffers, sharedbase.ObjID{}, "%v", err)
	}
	if err != nil {
		return err
	}
	compare := l.whole
	if l.Sample > 0 {
		compare = l.sample
	}
	s := newSuspects(r)
	err = compare(ctx, r, s)
	l.incomplete = errors.Is(err, errTooMany)
	if err != nil && !l.incomplete {
		return err
	}
	err = l.settle(ctx, s)
	if err == nil && l.incomplete && len(l.findings) == 0 {
		err = errTooMany // the suspects changed meanwhile: the rest was not checked
	}
	return err
}

// record compares the image with what was recorded when it was packed.
func (l *look) record(ctx context.Context, r format.Reader) error {
	return l.Base.CheckImage(ctx, l.shard.ID, r.Info().Objects, r.Fingerprint())
}

// whole reads all of the image, and then compares its index with the database's.
func (l *look) whole(ctx context.Context, r format.Reader, s *suspects) error {
	total := r.Info().ObjectsSize
	counts, err := r.Inspect(ctx, func(bytes int64) { l.read(Image, bytes, total) }, s.damage)
	l.objects += counts.Objects + int64(len(s.damaged))
	if err != nil {
		return err
	}
	inventory, err := r.Inventory(ctx)
	if err != nil {
		return err
	}
	defer inventory.Close()
	for id, err := range l.Base.PresentObjects(ctx, l.shard.ID, 0) {
		if err == nil && !inventory.Mark(id) {
			err = s.missing(id)
		}
		if err != nil {
			return err
		}
	}
	var left []sharedbase.ObjID
	for id := range inventory.Unmarked() {
		if left = append(left, id); len(left) == batchSize {
			if err := l.strangers(ctx, left, s); err != nil {
				return err
			}
			left = left[:0]
		}
	}
	return l.strangers(ctx, left, s)
}

// strangers suspects those objects of the image that should not be in it.
func (l *look) strangers(ctx context.Context, ids []sharedbase.ObjID, s *suspects) error {
	return l.standings(ctx, ids, func(id sharedbase.ObjID, is sharedbase.ObjectStatus) error {
		if is == (sharedbase.ObjectStatus{}) {
			return s.stranger(id)
		}
		return nil
	})
}

// sample checks some objects of the image, and some of the index.
func (l *look) sample(ctx context.Context, r format.Reader, s *suspects) error {
	count, err := l.Base.CountObjects(ctx, l.shard.Name)
	if err != nil {
		return err
	}
	if count > r.Info().Objects {
		if err := l.find(NotInImage, sharedbase.ObjID{}, "the index has %d objects, the image was written with %d", count, r.Info().Objects); err != nil {
			return err
		}
	}
	picked, err := r.Pick(ctx, l.Sample)
	if damage := new(format.DamageError); errors.As(err, &damage) {
		err = s.damage(format.Damage{DamageError: damage})
	}
	if err != nil {
		return err
	}
	if err := l.strangers(ctx, picked, s); err != nil {
		return err
	}
	present, err := l.present(ctx)
	if err != nil {
		return err
	}
	for _, id := range append(picked, present...) {
		size, err := r.Check(ctx, id)
		damage := new(format.DamageError)
		switch {
		case errors.Is(err, format.ErrNotFound):
			err = s.missing(id)
		case errors.As(err, &damage):
			err = s.damage(format.Damage{ID: id, DamageError: damage})
		}
		if err != nil {
			return err
		}
		l.objects++
		l.read(Image, size, -1)
	}
	return nil
}
