// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"errors"

	"winery/internal/containment"
	"winery/internal/pace"
	"winery/pool"
	"winery/sharedbase"
)

// newerImage compares a shard that is not packed, and in whose table every object is right,
// with the image that its pool may have, as a packer does before it replaces the image. It
// returns a finding where the packer would refuse.
func (s *Scrubber) newerImage(ctx context.Context, name string) (findings []Finding, err error) {
	sh, err := s.Base.ShardByName(ctx, name)
	if err != nil || sh.State.ImageAvailable() || s.Pools[sh.Pool] == nil {
		return nil, err
	}
	p := s.Pools[sh.Pool]
	img, err := p.Open(ctx, name)
	if errors.Is(err, pool.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	err = containment.Replacement{
		Base: s.Base, ShardID: sh.ID, Shard: name, Format: p.Format(), Keys: s.Base.PresentObjects(ctx, sh.ID, 0),
	}.Contains(ctx, pace.Reader(ctx, img, s.Rate), img.Size())
	if errors.Is(err, containment.ErrNotContained) {
		return []Finding{{name, sh.Pool, NewerImage, Object(sharedbase.ObjID{}), err.Error()}}, nil
	}
	return nil, err
}
