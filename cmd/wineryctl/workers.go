// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"sync"

	"github.com/urfave/cli/v2"
	"golang.org/x/time/rate"

	"winery/internal/daemon"
	"winery/internal/pace"
)

var (
	workersFlag = &cli.IntFlag{Name: "workers", Value: 1, Usage: "work on `N` images at once"}
	rateFlag    = daemon.RateFlag("read at most `MB` megabytes per second, all workers together")
)

// maxWorkers bounds memory: a worker holds the hash function of an image, and keys.
const maxWorkers = 64

// effort is what a command may use.
type effort struct {
	workers int
	rate    *rate.Limiter // nil: no limit
}

// chosenEffort returns what --workers and --rate say.
func chosenEffort(c *cli.Context) (e effort, err error) {
	workers, mb := c.Int(workersFlag.Name), c.Float64(rateFlag.Name)
	switch {
	case workers < 1 || workers > maxWorkers:
		err = daemon.UsageError("--workers: found %d, must be from 1 to %d", workers, maxWorkers)
	case c.IsSet(rateFlag.Name) && mb*1e6 < 1:
		err = daemon.UsageError("--rate: found %v, must be more than 0", mb)
	}
	return effort{workers, pace.NewRate(int64(mb * 1e6))}, err
}

// forEach calls work for the items in their order, for as many at once as there are
// workers, and then done with what it returned, for one item at a time. It begins no
// other item once done has returned false, and returns when all work has ended.
func forEach[T, R any](workers int, items []T, work func(T) (R, error), done func(T, R, error) (more bool)) {
	var mu sync.Mutex // held by done
	next, more := 0, true
	take := func() (item T, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if ok = more && next < len(items); ok {
			item = items[next]
			next++
		}
		return item, ok
	}
	var all sync.WaitGroup
	for range min(workers, len(items)) {
		all.Go(func() {
			for item, ok := take(); ok; item, ok = take() {
				result, err := work(item)
				mu.Lock()
				more = done(item, result, err) && more
				mu.Unlock()
			}
		})
	}
	all.Wait()
}
