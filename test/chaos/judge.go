// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
	"winery/test/harness"
)

// What is wrong with a shard in the end.
const (
	stuck       verdict = "shard or deletion stuck"
	unerased    verdict = "object left in an image"
	stray       verdict = "table, image or draft without its shard, or missing"
	quarantined verdict = "shard quarantined"
)

// settle waits until no role has work left: every shard that was filled is
// read-only, every deletion is done, and no dead process holds a lock.
func (r *run) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settling+3*r.Lease)
	defer cancel()
	last := []string{"the database did not answer once"}
	err := harness.Until(ctx, func() (bool, error) {
		left, err := r.unfinished(ctx)
		if err == nil {
			last = left
		}
		return err == nil && len(left) == 0, nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	for _, what := range last {
		r.find(stuck, what)
	}
	return nil
}

// unfinished is the remaining work of all roles, including a lock of a dead
// process, until its lease has expired and another process has reclaimed the
// shard.
func (r *run) unfinished(ctx context.Context) (left []string, err error) {
	leases, err := r.fleet.Base.Leases(ctx)
	if err != nil {
		return nil, err
	}
	shards, err := r.fleet.Base.ListShards(ctx, sharedbase.ShardFilter{})
	if err != nil {
		return nil, err
	}
	for _, s := range shards {
		switch s.State {
		case sharedbase.StateStandby, sharedbase.StateReadOnly:
		case sharedbase.StateWriting:
			l, leased := leases[s.Locker]
			if !leased || l.Expired || errors.Is(syscall.Kill(l.PID, 0), syscall.ESRCH) {
				left = append(left, fmt.Sprintf("shard %s is %s without a lease that holds, of a process that lives: %+v", s.Name, s.State, l))
			}
		default:
			left = append(left, fmt.Sprintf("shard %s is %s", s.Name, s.State))
		}
	}
	marked, err := r.fleet.Base.ShardsToErase(ctx, "")
	for _, s := range marked {
		left = append(left, fmt.Sprintf("deleted objects of shard %s (%s) are not erased", s.Name, s.State))
	}
	return left, err
}

// judge compares what is there with what must be there, once all has settled.
func (r *run) judge(ctx context.Context) error {
	shards, err := r.fleet.Base.ListShards(ctx, sharedbase.ShardFilter{})
	if err != nil {
		return err
	}
	return errors.Join(r.judgeObjects(ctx), r.judgeQuarantined(ctx), r.judgePlaces(ctx, shards), r.judgeImages(ctx, shards))
}

// judgeObjects reads every object of the journal over HTTP.
func (r *run) judgeObjects(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	for i, id := range r.journal.ids() {
		g.Go(func() error {
			content, err := r.readers[i%len(r.readers)].Get(ctx, id)
			r.journal.checkFinally(id, content, err)
			return ctx.Err()
		})
	}
	return g.Wait()
}

// judgeQuarantined looks for quarantined shards.
func (r *run) judgeQuarantined(ctx context.Context) error {
	all, err := r.fleet.Base.QuarantinedShards(ctx)
	for _, p := range all {
		r.find(quarantined, fmt.Sprintf("%s (%s), by %s: %s", p.Shard.Name, p.Shard.State, p.Role, p.Reason))
	}
	return err
}

// judgePlaces compares the shards with the tables and images that there are.
func (r *run) judgePlaces(ctx context.Context, shards []sharedbase.Shard) error {
	tables, err := r.tables(ctx)
	if err != nil {
		return err
	}
	images, err := r.fleet.Pool.List(ctx)
	if err != nil {
		return err
	}
	var drafts []string
	if r.disk != "" {
		if drafts, err = fs.Glob(os.DirFS(r.disk), "*.tmp"); err != nil {
			return err
		}
	}
	var wantTables, wantImages []string
	for _, s := range shards {
		if s.State != sharedbase.StateReadOnly {
			wantTables = append(wantTables, s.Name)
		}
		if s.State.ImageAvailable() {
			wantImages = append(wantImages, s.Name)
		}
	}
	r.compare("table", tables, wantTables)
	r.compare("image", images, wantImages)
	r.compare("draft", drafts, nil)
	return nil
}

func (r *run) compare(what string, found, want []string) {
	for _, name := range found {
		if !slices.Contains(want, name) {
			r.find(stray, fmt.Sprintf("there is a %s %s that no shard needs", what, name))
		}
	}
	for _, name := range want {
		if !slices.Contains(found, name) {
			r.find(stray, fmt.Sprintf("there is no %s %s", what, name))
		}
	}
}

// tables are the names of the shards that have a table.
func (r *run) tables(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c",
		`SELECT substr(relname, 7) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'shard\_i%'`, r.services.DSN).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("listing the tables with psql: %w: %s", err, out)
	}
	return strings.Fields(string(out)), nil
}

// judgeImages goes through the index of every image: each object that can be
// read there must be one that the database has in that very shard.
func (r *run) judgeImages(ctx context.Context, shards []sharedbase.Shard) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	for _, s := range shards {
		if s.State.ImageAvailable() {
			g.Go(func() error { return r.judgeImage(ctx, s) })
		}
	}
	return g.Wait()
}

func (r *run) judgeImage(ctx context.Context, s sharedbase.Shard) (err error) {
	image, err := r.fleet.Pool.Open(ctx, s.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	reader, err := r.fleet.Pool.Format().Open(image, image.Size(), s.Name)
	if err != nil {
		return err
	}
	var ids []sharedbase.ObjID
	for id, err := range reader.Keys(ctx) {
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	at, err := r.fleet.Base.Locate(ctx, ids)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if at[i].ShardID != s.ID {
			r.find(unerased, fmt.Sprintf("image %s has %x, which the index has in shard %q", s.Name, id, at[i].Shard))
		}
	}
	return nil
}

// checkFinally is check when nothing is broken any more: no answer at all is a
// finding, too.
func (j *Journal) checkFinally(id sharedbase.ObjID, content []byte, err error) {
	j.check(id, content, err)
	if err != nil && !errors.Is(err, client.ErrNotFound) && !errors.Is(err, client.ErrCorrupted) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.find(unreadable, id, err.Error())
	}
}
