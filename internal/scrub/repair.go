// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"winery/internal/pace"
	"winery/pool"
	"winery/sharedbase"
)

// Repaired is what Repair did, and what its last scrub found.
type Repaired struct {
	Report
	Done []string // sentences
}

// rounds of repair: head, objects, and what only shows when those are right.
const rounds = 3

// Repair scrubs a shard as a whole, repairs what it can, and scrubs again. It
// unquarantines the shard if nothing is left, and no packer would quarantine it again at
// once, because of an image ([NewerImage]); *sharedbase.QuarantinedError if another
// process quarantined it since the last scrub began. erase has it erase the objects that are
// NotErased. What is left is in the report, and the error says why it was not
// repaired, as well as what could not be read.
func (s *Scrubber) Repair(ctx context.Context, name string, erase bool) (r Repaired, err error) {
	whole := *s
	whole.Sample = 0
	var quarantined time.Time
	verify := func() (report Report, err error) {
		if quarantined, err = s.Base.QuarantinedAt(ctx, name); err != nil {
			return report, err
		}
		return whole.Scrub(ctx, name)
	}
	r.Report, err = verify()
	for n := 0; n < rounds && err == nil && len(r.Findings) > 0; n++ {
		done, why := whole.repair(ctx, name, r.Findings, erase)
		r.Done = append(r.Done, done...)
		if len(done) == 0 {
			return r, why
		}
		var again Report
		again, err = verify()
		r.Objects, r.Bytes, r.Findings = again.Objects, r.Bytes+again.Bytes, again.Findings
		if len(r.Findings) > 0 {
			err = errors.Join(err, why)
		}
	}
	if err == nil && len(r.Findings) == 0 && !quarantined.IsZero() {
		r.Findings, err = whole.newerImage(ctx, name)
	}
	if err != nil || len(r.Findings) > 0 {
		return r, err
	}
	err = s.Base.UnquarantineSince(ctx, name, quarantined)
	if errors.Is(err, sharedbase.ErrNotFound) {
		return r, nil
	}
	if err == nil {
		r.Done = append(r.Done, "unquarantined")
	}
	return r, err
}

// repair does one round: done is what was, why says what could not be.
func (s *Scrubber) repair(ctx context.Context, name string, findings []Finding, erase bool) (done []string, why error) {
	sh, err := s.Base.ShardByName(ctx, name)
	if err != nil || !sh.State.ImageAvailable() || s.Pools[sh.Pool] == nil {
		return nil, err
	}
	mend := s.rebuild
	if sh.State == sharedbase.StateReadOnly {
		mend = s.restore
	}
	if slices.ContainsFunc(findings, func(f Finding) bool { return f.Kind.Repairable() }) {
		done, why = mend(ctx, sh, findings)
	}
	if erase && len(done) == 0 { // a new image has nothing to erase; a restored one next time
		erased, err := s.erase(ctx, sh, objectsOf(findings, NotErased))
		done, why = append(done, erased...), errors.Join(why, err)
	}
	return done, why
}

func objectsOf(findings []Finding, kinds ...Kind) (ids []sharedbase.ObjID) {
	for _, f := range findings {
		if f.Object != (Object{}) && slices.Contains(kinds, f.Kind) {
			ids = append(ids, sharedbase.ObjID(f.Object))
		}
	}
	return ids
}

// withStatus returns those of ids that have the status want in a shard now.
func (s *Scrubber) withStatus(ctx context.Context, sh sharedbase.Shard, ids []sharedbase.ObjID, want sharedbase.ObjectStatus) (left []sharedbase.ObjID, err error) {
	for some := range slices.Chunk(ids, batchSize) {
		found, err := s.Base.ObjectStatuses(ctx, sh.ID, some)
		if err != nil {
			return nil, err
		}
		for i, is := range found {
			if is == want {
				left = append(left, some[i])
			}
		}
	}
	return left, nil
}

// edit opens a shard's image for writing and calls fn, which commits what it wrote
// and has the image for itself: what the index says of an object that is read under the claim is true of the
// image until fn returns, but for objects that are marked deleted meanwhile, and the
// marks of those stay.
func (s *Scrubber) edit(ctx context.Context, sh sharedbase.Shard, fn func(context.Context, pool.Editor) error) error {
	return s.Base.WithImageForRepair(ctx, sh.Name, func(ctx context.Context, claim *sharedbase.ImageClaim) error {
		if err := unmoved(sh, claim); err != nil {
			return err
		}
		ctx = pace.Pool(ctx, s.Rate)
		e, err := s.Pools[sh.Pool].Edit(ctx, sh.Name, claim)
		if err != nil {
			return err
		}
		return errors.Join(fn(ctx, e), e.Close())
	})
}

// unmoved returns no error if the image is claimed in the pool where the shard was read.
func unmoved(sh sharedbase.Shard, claim *sharedbase.ImageClaim) error {
	if claim.Pool() != sh.Pool {
		return fmt.Errorf("shard %s moved to pool %s: verify it again", sh.Name, claim.Pool())
	}
	return nil
}

// erase erases objects from the image that the index still does not have.
func (s *Scrubber) erase(ctx context.Context, sh sharedbase.Shard, ids []sharedbase.ObjID) (done []string, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = s.edit(ctx, sh, func(ctx context.Context, e pool.Editor) error {
		ids, err := s.withStatus(ctx, sh, ids, sharedbase.ObjectStatus{})
		if err != nil {
			return err
		}
		n, err := s.Pools[sh.Pool].Format().Erase(ctx, e, e.Size(), sh.Name, 1, ids)
		if n == 0 {
			return err
		}
		if committed := e.Commit(ctx); committed != nil {
			return errors.Join(err, committed)
		}
		done = []string{fmt.Sprintf("erased %d objects that the index does not have", n)}
		return err
	})
	return done, err
}
