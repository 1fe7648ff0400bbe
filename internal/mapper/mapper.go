// SPDX-License-Identifier: GPL-3.0-or-later

package mapper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"winery/internal/hang"
	"winery/internal/hashcache"
	"winery/internal/metrics"
	"winery/internal/progress"
	"winery/internal/storage"
	"winery/sharedbase"
)

const (
	parallel    = 8  // images being mapped at a time
	maxFailures = 16 // in a pool, in a step
	// maxHanging is how many calls of a pool may hang before no further image of
	// the pool is begun, in any step. parallel - 1 more may be in flight by then.
	maxHanging = 8
)

// waiting are the states in which a packer will want an image for a shard.
// Python's packer locks the shard first, and then waits without end.
var waiting = []sharedbase.ShardState{
	sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.StateFull, sharedbase.StatePacking,
}

// Options of a Mapper. Base, Pools and Log must be set.
type Options struct {
	Base  *sharedbase.SharedBase
	Pools storage.Set
	// OnlyPrefix selects the shards whose names begin with it; "" selects all.
	OnlyPrefix string
	// ManageRWImages reserves images for packers that may not create them.
	ManageRWImages bool
	// Host to record, by default the name of this one.
	Host string
	// ImageTimeout is the most time for one call of a pool, by default a minute: to map an
	// image, to open it, to read from it once, or to list the mapped images.
	ImageTimeout time.Duration
	// CompareInterval is how often all images are compared with what is mapped,
	// by default every 5 minutes. In between a step asks for those alone that
	// Host has not recorded.
	CompareInterval time.Duration
	// Hashes gets the hash function of each image that is checked, for the readers of
	// this host, as long as it has room. May be nil.
	Hashes *hashcache.Cache
	// Metrics may be nil.
	Metrics *metrics.Client
	// Progress is called at the beginning of a step, about once a second and
	// when all is mapped. May be nil.
	Progress progress.Func
	Log      *slog.Logger
}

// Mapping is the task that Progress is told of.
const Mapping progress.Task = "mapping images"

// Mapper maps images on one host. Several may run at once, on one host or many;
// a Mapper itself serves one goroutine.
type Mapper struct {
	Options
	failures map[string]int  // by shard: tries in a row that failed
	hanging  hang.Calls      // that did not return in time
	filling  hang.Calls      // of Hashes, the same
	reserved map[string]bool // by shard: images made in the last step or before
	compared time.Time       // when all images were last compared
	progress progress.Report // of the last step: images that are mapped, checked and recorded
}

// New makes a Mapper. It does not connect to anything.
func New(o Options) *Mapper {
	o.ImageTimeout = cmp.Or(o.ImageTimeout, time.Minute)
	o.CompareInterval = cmp.Or(o.CompareInterval, 5*time.Minute)
	return &Mapper{Options: o, failures: map[string]int{}}
}

// WakesOn returns the states in which a shard may be work for a step: an idle mapper
// should not wait any longer when a shard comes into one of them.
func (m *Mapper) WakesOn() []sharedbase.ShardState {
	states := []sharedbase.ShardState{sharedbase.StatePacked, sharedbase.StateReadOnly} // packed here; imported or migrated
	if m.ManageRWImages {
		states = append(states, waiting...)
	}
	return states
}

// Step maps, checks and records every image that is available and is not recorded
// for this host yet; every CompareInterval, and after a step with a failure, also
// those that are recorded but no longer mapped. worked reports whether an image
// was recorded, or mapped again. The error joins those of all images that failed,
// by name.
func (m *Mapper) Step(ctx context.Context) (worked bool, err error) {
	host := m.Host
	if host == "" {
		if host, err = os.Hostname(); err != nil {
			return false, fmt.Errorf("cannot read the name of this host: %w", err)
		}
	}
	r := &round{Mapper: m, host: host, failed: map[string]int{}, all: time.Since(m.compared) >= m.CompareInterval}
	if m.ManageRWImages {
		r.reserve(ctx)
	}
	todo := r.list(ctx)
	r.report()
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, img := range todo {
		group.Go(func() error {
			r.process(ctx, img)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the round
	switch {
	case r.incomplete || ctx.Err() != nil:
		m.compared = time.Time{}
	case r.all:
		m.compared = time.Now()
	}
	return r.worked, errors.Join(append(r.errs, ctx.Err())...)
}
