// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/hang"
	"winery/internal/metrics"
	"winery/internal/progress"
	"winery/internal/storage"
	"winery/sharedbase"
)

// Options of a Cleaner. Base, Pools and Log must be set.
type Options struct {
	Base  *sharedbase.SharedBase
	Pools storage.Set
	// MinMappedHosts is how many hosts must have recorded that they mapped an
	// image before its table is dropped. 0: none need to.
	MinMappedHosts int
	// Rate limits how fast images are read before tables are dropped. Nil: no limit.
	Rate *rate.Limiter
	// CallTimeout is how long one call of a pool may take, by default a minute.
	CallTimeout time.Duration
	// Metrics may be nil.
	Metrics *metrics.Client
	// Progress is called before each shard that needs work. May be nil.
	Progress progress.Func
	// Claimed is called with each shard in whose image nothing is erased because another
	// process has claimed it, by several goroutines at once. May be nil.
	Claimed func(shard string)
	Log     *slog.Logger
}

// The tasks, in their order; while a table is dropped, its objects are counted.
const (
	Dropping progress.Task = "dropping the table of"
	Erasing  progress.Task = "erasing deleted objects of"
)

// Cleaner drops tables and erases objects. Any number of cleaners may work on one
// database. A cleaner ignores shards of pools that are not configured.
type Cleaner struct {
	Options
	hanging hang.Calls // what was left behind
}

// New makes a Cleaner. It does not connect to anything.
func New(o Options) *Cleaner { return &Cleaner{Options: o} }

func (c *Cleaner) report(task progress.Task, name string) {
	if c.Progress != nil {
		c.Progress(progress.Report{Task: task, Shard: name})
	}
}

// errMismatch means that index, table and image of a shard are not consistent.
var errMismatch = errors.New("the shard is not consistent")

// quarantineIfDamaged quarantines the shard if err means that the shard is damaged or not
// consistent, and its image is still in the pool, and returns err joined with the error of
// the quarantine. It returns any other err, which may be temporary, unchanged.
func (c *Cleaner) quarantineIfDamaged(ctx context.Context, shardID int64, poolName string, err error) error {
	if !errors.Is(err, errMismatch) && !errors.Is(err, sharedbase.ErrOtherImage) && !errors.As(err, new(*format.DamageError)) {
		return err
	}
	failure := c.Base.QuarantineIn(ctx, shardID, poolName, err.Error())
	if !errors.Is(failure, sharedbase.ErrMoved) {
		c.Metrics.Quarantined("cleaner", poolName)
	}
	return errors.Join(err, failure)
}

// outage reports whether, after a failure, no other shard is worth a try: the database
// does not answer, or ctx has ended.
func (c *Cleaner) outage(ctx context.Context, failure error) bool {
	if ctx.Err() != nil {
		return true
	}
	if !errors.Is(failure, sharedbase.ErrUnavailable) { // which a busy table is, too
		return false
	}
	_, err := c.Base.Ping(ctx)
	return err != nil
}
