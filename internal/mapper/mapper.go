// SPDX-License-Identifier: GPL-3.0-or-later

package mapper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"winery/internal/metrics"
	"winery/internal/storage"
	"winery/sharedbase"
)

const (
	parallel    = 8  // images under work at a time
	maxFailures = 16 // in a pool, in a step
)

// available are the states in which a shard's image is complete.
var available = []sharedbase.ShardState{
	sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.StateReadOnly,
}

// waiting are the states in which a packer will want an image for a shard.
// Python's packer locks the shard first, and then waits without end.
var waiting = []sharedbase.ShardState{
	sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.StateFull, sharedbase.StatePacking,
}

// Options of a Mapper. Base, Pools and Log must be set.
type Options struct {
	Base  *sharedbase.SharedBase
	Pools storage.Set
	// OnlyPrefix leaves out the shards whose names do not begin with it.
	OnlyPrefix string
	// ManageRWImages reserves images for packers that may not create them.
	ManageRWImages bool
	// Host to record, by default the name of this one.
	Host string
	// ImageTimeout is the most time to map and check one image, by default a
	// minute.
	ImageTimeout time.Duration
	// Metrics may be nil.
	Metrics *metrics.Client
	// Progress is called at the beginning of a step, about once a second and
	// when all is mapped, one call at a time. May be nil.
	Progress func(Progress)
	Log      *slog.Logger
}

// Progress of a step.
type Progress struct {
	Mapped int // images that are mapped, checked and recorded
	Wanted int // images that should be
}

// String is a line for people.
func (p Progress) String() string {
	return fmt.Sprintf("%d of %d images mapped", p.Mapped, p.Wanted)
}

// Mapper maps images on one host. Several may run at once, on one host or many;
// a Mapper itself serves one goroutine.
type Mapper struct {
	Options
	failures map[string]int          // by shard: tries in a row that failed
	hanging  map[string]<-chan error // by shard: tries that did not come back
	reserved map[string]bool         // by shard: images made in the last step or before
}

// New makes a Mapper. It does not connect to anything.
func New(o Options) *Mapper {
	if o.ImageTimeout == 0 {
		o.ImageTimeout = time.Minute
	}
	return &Mapper{Options: o, failures: map[string]int{}, hanging: map[string]<-chan error{}}
}

// Step maps, checks and records every image that is available and is not
// recorded for this host yet, or not mapped any more. worked tells whether any
// was. The error joins those of all images that failed, by name.
func (m *Mapper) Step(ctx context.Context) (worked bool, err error) {
	host := m.Host
	if host == "" {
		if host, err = os.Hostname(); err != nil {
			return false, fmt.Errorf("this host's name: %w", err)
		}
	}
	r := &round{Mapper: m, host: host, failed: map[string]int{}}
	if m.ManageRWImages {
		r.reserve(ctx)
	}
	todo := r.list(ctx)
	r.report()
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, img := range todo {
		group.Go(func() error {
			r.settle(ctx, img)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the round
	return r.worked, errors.Join(append(r.errs, ctx.Err())...)
}
