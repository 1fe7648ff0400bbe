// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"winery/internal/imagebuild"
	"winery/sharedbase"
)

// rebuild builds the image again from the shard's table, if the whole table is
// right.
func (s *Scrubber) rebuild(ctx context.Context, sh sharedbase.Shard, _ []Finding) ([]string, error) {
	err := s.Base.WithImageForRepair(ctx, sh.Name, func(ctx context.Context, image *sharedbase.ImageClaim) error {
		worked, err := s.Base.WithOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning,
			sharedbase.ClaimFilter{Name: sh.Name, IncludeQuarantined: true},
			func(ctx context.Context, claim *sharedbase.Claim) error { return s.remake(ctx, claim, image) })
		if err == nil && !worked {
			err = fmt.Errorf("shard %s is %s: it cannot be claimed", sh.Name, sh.State)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rebuilding the image from the table: %w", err)
	}
	return []string{"rebuilt the image from the table"}, nil
}

// remake does the work of rebuild under the claims to the table and to the image.
// The existing image is replaced only if no object is lost.
func (s *Scrubber) remake(ctx context.Context, claim *sharedbase.Claim, image *sharedbase.ImageClaim) error {
	sh, err := s.Base.ShardByID(ctx, claim.ID())
	if err != nil {
		return err
	}
	p := &pass{Scrubber: s, shard: sh}
	if err := p.table(ctx); err != nil && !errors.Is(err, errTooMany) {
		return err
	}
	if len(p.findings) > 0 {
		return fmt.Errorf("the table is damaged; nothing was changed: %s", p.findings[0].Text)
	}
	finished, err := s.unfinished(ctx, sh)
	if err != nil {
		return err
	}
	if err := image.ForgetMappedHosts(ctx, claim); err != nil { // the existing image may be wiped from here on
		return err
	}
	made, err := imagebuild.Job{
		Base: s.Base, Claim: claim, Pool: s.Pools[claim.Pool()], Repairs: image, Rate: s.Rate, Progress: s.Progress,
	}.Make(ctx)
	if err != nil {
		return err
	}
	if err := image.RecordImage(ctx, made.Record); err != nil {
		return err
	}
	return finished(ctx)
}

// unfinished quarantines a shard whose image is made again, and returns what ends that. A
// process that is cut off meanwhile may still wipe the image when it continues: until it has
// verified the image, no other process may use it. A shard that is quarantined already stays so.
func (s *Scrubber) unfinished(ctx context.Context, sh sharedbase.Shard) (finished func(context.Context) error, err error) {
	err = s.Base.CheckQuarantine(ctx, sh)
	if errors.As(err, new(*sharedbase.QuarantinedError)) {
		return func(context.Context) error { return nil }, nil
	}
	if err == nil {
		err = s.Base.Quarantine(ctx, sh.ID, "a repair is rebuilding the image from the table; if no repair is running, run `wineryctl verify --repair --shard "+sh.Name+"`")
	}
	var since time.Time
	if err == nil {
		since, err = s.Base.QuarantinedAt(ctx, sh.Name)
	}
	return func(ctx context.Context) error {
		err := s.Base.UnquarantineSince(ctx, sh.Name, since)
		if errors.As(err, new(*sharedbase.QuarantinedError)) {
			return nil // again since, for another reason
		}
		return err
	}, err
}
