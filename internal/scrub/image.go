// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"winery/format"
	"winery/internal/pace"
	"winery/internal/progress"
	"winery/pool"
	"winery/sharedbase"
)

// image compares the shard's image with its record and with the index, and
// hashes its objects.
func (p *pass) image(ctx context.Context) error {
	images := p.Pools[p.shard.Pool]
	if images == nil {
		return fmt.Errorf("shard %s: pool %s is not configured", p.shard.Name, p.shard.Pool)
	}
	open := images.Open
	if p.Mapped {
		open = func(ctx context.Context, name string) (pool.Image, error) {
			return images.OpenMapped(pool.WithoutCache(ctx), name) // what is cached says nothing of the disk
		}
	}
	err := p.reading(ctx, open, p.opened)
	damage := new(format.DamageError)
	if p.Mapped && errors.As(err, &damage) && p.again(ctx, openOnly) == nil {
		return p.find(ReadsDiffer, sharedbase.ObjID{}, "%v; a second read from the store found no damage", damage)
	}
	switch {
	case errors.Is(err, pool.ErrNotMapped): // says nothing of the store
	case errors.Is(err, pool.ErrNotFound):
		return p.absent(ctx)
	case errors.As(err, &damage):
		return p.find(HeadDamaged, sharedbase.ObjID{}, "%v", damage)
	}
	return err
}

// absent reports a missing image. If another pool has an image of the shard, the
// finding names the command that assigns it to the shard.
func (p *pass) absent(ctx context.Context) error {
	text := fmt.Sprintf("the shard is %s, and pool %s has no image of the shard", p.shard.State, p.shard.Pool)
	for _, name := range p.others(p.shard) {
		img, err := p.Pools[name].Open(ctx, p.shard.Name)
		if errors.Is(err, pool.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := img.Close(); err != nil {
			return err
		}
		if p.shard.State == sharedbase.StateReadOnly {
			text += fmt.Sprintf("; `wineryctl shards migrate %s %s --image %s --no-transfer` verifies the image in pool %s and assigns that image to the shard",
				p.shard.Pool, name, p.shard.Name, name)
		}
	}
	return p.find(ImageMissing, sharedbase.ObjID{}, "%s", text)
}

// reading opens the image and calls fn with it.
func (p *pass) reading(ctx context.Context, open func(context.Context, string) (pool.Image, error),
	fn func(context.Context, format.Reader) error) error {
	return pace.ReadImage(ctx, p.Pools[p.shard.Pool], open, p.shard.Name, p.Rate, func(r format.Reader) error { return fn(ctx, r) })
}

// openOnly is for a second read that need not find more than the head.
func openOnly(context.Context, format.Reader) error { return nil }

// again opens the image as it is in the store now.
func (p *pass) again(ctx context.Context, fn func(context.Context, format.Reader) error) error {
	return p.reading(ctx, p.Pools[p.shard.Pool].Open, fn)
}

func (p *pass) opened(ctx context.Context, r format.Reader) error {
	p.found = sharedbase.ImageRecord{Objects: r.Info().Objects, Bytes: r.Info().ContentSize, Fingerprint: r.Fingerprint()}
	err := p.record(ctx, r)
	if p.Mapped && errors.Is(err, sharedbase.ErrOtherImage) && p.again(ctx, p.record) == nil {
		return p.find(ReadsDiffer, sharedbase.ObjID{}, "%v; a second read from the store found no damage", err)
	}
	if errors.Is(err, sharedbase.ErrOtherImage) {
		err = p.find(RecordDiffers, sharedbase.ObjID{}, "%v", err)
	}
	if err != nil {
		return err
	}
	compare := p.compareAll
	if p.Sample > 0 {
		compare = p.sample
	}
	c := newCandidates(r)
	err = compare(ctx, r, c)
	p.incomplete = errors.Is(err, errTooMany)
	if err != nil && !p.incomplete {
		return err
	}
	err = p.confirm(ctx, c)
	if err == nil && p.incomplete && len(p.findings) == 0 {
		err = errTooMany // the candidates changed meanwhile: the rest was not checked
	}
	return err
}

// record compares the image with what was recorded when it was packed.
func (p *pass) record(ctx context.Context, r format.Reader) error {
	return p.Base.CheckImage(ctx, p.shard.ID, r.Info().Objects, r.Fingerprint())
}

// compareAll reads all of the image, and then compares its index with the database's.
func (p *pass) compareAll(ctx context.Context, r format.Reader, c *candidates) error {
	p.progress = p.Progress.NewMeter(VerifyingImage, p.shard.Name, r.Info().ObjectsSize)
	counts, err := r.Inspect(ctx, p.read, c.addDamage)
	p.objects += counts.Objects + int64(len(c.damaged))
	if err != nil {
		return err
	}
	inventory, err := r.Inventory(ctx)
	if err != nil {
		return err
	}
	defer inventory.Close()
	for id, err := range p.Base.PresentObjects(ctx, p.shard.ID, 0) {
		if err == nil && !inventory.Mark(id) {
			err = c.addAbsent(id)
		}
		if err != nil {
			return err
		}
	}
	var left []sharedbase.ObjID
	for id := range inventory.Unmarked() {
		if left = append(left, id); len(left) == batchSize {
			if err := p.findUnindexed(ctx, left, c); err != nil {
				return err
			}
			left = left[:0]
		}
	}
	return p.findUnindexed(ctx, left, c)
}

// findUnindexed makes candidates of those objects of the image that should not be in it.
func (p *pass) findUnindexed(ctx context.Context, ids []sharedbase.ObjID, c *candidates) error {
	return p.eachStatus(ctx, ids, func(id sharedbase.ObjID, is sharedbase.ObjectStatus) error {
		if is == (sharedbase.ObjectStatus{}) {
			return c.addUnindexed(id)
		}
		return nil
	})
}

// sample checks some objects of the image, and some of the index.
func (p *pass) sample(ctx context.Context, r format.Reader, c *candidates) error {
	count, err := p.Base.CountObjects(ctx, p.shard.Name)
	if err != nil {
		return err
	}
	if count > r.Info().Objects {
		if err := p.find(NotInImage, sharedbase.ObjID{}, "the index has %d objects, the image was written with %d", count, r.Info().Objects); err != nil {
			return err
		}
	}
	picked, err := r.Pick(ctx, p.Sample)
	if damage := new(format.DamageError); errors.As(err, &damage) {
		err = c.addDamage(format.Damage{DamageError: damage})
	}
	if err != nil {
		return err
	}
	if err := p.findUnindexed(ctx, picked, c); err != nil {
		return err
	}
	present, err := p.present(ctx)
	if err != nil {
		return err
	}
	p.progress = p.Progress.NewMeter(VerifyingImage, p.shard.Name, progress.Unknown)
	ids := append(picked, present...)
	slices.SortFunc(ids, func(a, b sharedbase.ObjID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range slices.Compact(ids) {
		size, err := r.Check(ctx, id)
		damage := new(format.DamageError)
		switch {
		case errors.Is(err, format.ErrNotFound):
			err = c.addAbsent(id)
		case errors.As(err, &damage):
			err = c.addDamage(format.Damage{ID: id, DamageError: damage})
		}
		if err != nil {
			return err
		}
		p.objects++
		p.read(size)
	}
	return nil
}
