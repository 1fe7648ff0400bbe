// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"winery/internal/doctor"
	"winery/internal/storage"
	"winery/sharedbase"
)

// poolTimeout is how long a start waits for one store to answer.
const poolTimeout = 15 * time.Second

// OpenPools opens the configured pools as pools of base (see
// [storage.Set.Owned]), and waits until one of the pools needed can be used, or
// any pool if needed is empty; with StopWhenIdle it does not wait. Package doctor
// says what a role must be able to do in a pool. A pool that was adopted earlier
// and whose store is unavailable counts as usable: it exists. Only the writer, which
// serves reads, caches what it reads. The caller closes the set.
func (e *Env) OpenPools(ctx context.Context, base *sharedbase.SharedBase, needed ...string) (storage.Set, error) {
	opened, err := e.openPools()
	if err != nil {
		return nil, err
	}
	set := opened.Owned(base, e.Log)
	wait := startWait{"pools", "waiting for a pool", "a pool can be used", slog.LevelError}
	err = e.until(ctx, wait, func(ctx context.Context) error { return e.oneUsable(ctx, base, set, needed) })
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	e.Telemetry.WatchPools(set)
	return set, nil
}

func (e *Env) openPools() (storage.Set, error) {
	if Role(e.CLI.App.Name) == "writer" {
		return storage.OpenToServe(e.Config.Pools)
	}
	return storage.Open(e.Config.Pools, e.Config.Packer.CreateImages)
}

// oneUsable returns nil if one of the needed pools can be used, or was adopted earlier
// and does not answer; each of the others is logged.
func (e *Env) oneUsable(ctx context.Context, base *sharedbase.SharedBase, set storage.Set, needed []string) error {
	records, err := base.PoolRecords(ctx)
	if err != nil {
		return err
	}
	var errs []error
	usable := false
	for _, p := range e.Config.Pools {
		limited, cancel := context.WithTimeout(ctx, poolTimeout)
		err := set.Check(limited, p.Name)
		if err == nil {
			err = doctor.Usable(limited, poolTimeout, Role(e.CLI.App.Name), p, set[p.Name])
		}
		cancel()
		_, recorded := records[p.Name]
		if err != nil {
			errs = append(errs, err)
		}
		if err == nil || recorded && doctor.Unanswered(err) {
			usable = usable || len(needed) == 0 || slices.Contains(needed, p.Name)
		}
	}
	if !usable {
		return errors.Join(errs...)
	}
	for _, err := range errs {
		e.Log.Error("pool cannot be used", "err", err)
	}
	return nil
}
