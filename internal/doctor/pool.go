// SPDX-License-Identifier: GPL-3.0-or-later

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"winery/internal/config"
	"winery/internal/storage"
	"winery/pool"
	"winery/pool/draftfile"
)

const identityCure = "wineryctl pool list; see The identity of a pool in /usr/share/doc/winery/operations.md"

// poolFailure is the result of a check for which a pool has an error.
func poolFailure(err error) Result {
	if refused, found := errors.AsType[*pool.AccessError](err); found {
		return Result{State: Failed, What: refused.What, Cure: refused.Cure}
	}
	if Unanswered(err) {
		return failure(err, "start the OSDs of Ceph, or the server of the file system; see Outages in /usr/share/doc/winery/operations.md")
	}
	return failure(err, identityCure)
}

// poolCheck makes the checks of one pool.
type poolCheck struct {
	*doctor
	config config.Pool
	pool   pool.Pool
}

func (p poolCheck) marker(ctx context.Context) Result {
	if _, err := p.server(); err != nil {
		if _, err := ask(ctx, p.Patience, p.pool.Marker); err != nil {
			return poolFailure(err)
		}
		return Result{State: Unknown, What: "there is a marker, which cannot be compared: the database does not answer", Cure: notAsked().Cure}
	}
	i, err := ask(ctx, p.Patience, func(ctx context.Context) (storage.Identity, error) {
		return storage.Identify(ctx, p.Base, p.pool)
	})
	switch {
	case err != nil:
		return poolFailure(err)
	case i.Why != nil:
		return failure(i.Why, identityCure)
	case i.State != storage.Recorded:
		return ok("%s: the first role that uses the pool marks and records it", i.State)
	}
	return ok("the pool is this database's")
}

func (p poolCheck) access(ctx context.Context) Result {
	r := allowed(ctx, p.Patience, p.pool, p.Roles)
	if r.State != OK || !p.works("writer") {
		return r
	}
	err := askNothing(ctx, p.Patience, p.openImage)
	if errors.Is(err, fs.ErrPermission) {
		return Result{
			State: Failed, What: fmt.Sprintf("user %d is not allowed to read a mapped image: %v", os.Geteuid(), err),
			Cure: "run all roles, also those of Python Winery, as the user to whom the images belong (User= of the units); or add the user to the group of the devices",
		}
	}
	if err != nil {
		return poolFailure(err)
	}
	return r
}

// openImage opens one of the mapped images, if there is one: files and devices may belong
// to another user than their folder.
func (p poolCheck) openImage(ctx context.Context) error {
	mapped, err := p.pool.Mapped(ctx)
	if err != nil {
		return err
	}
	for name := range mapped {
		image, err := p.pool.OpenMapped(ctx, name)
		switch {
		case err == nil:
			return image.Close()
		case errors.Is(err, fs.ErrPermission), !errors.Is(err, pool.ErrNotMapped):
			return err
		} // else it was unmapped meanwhile
	}
	return nil
}

// allowed checks whether roles may do with a pool what they must.
func allowed(ctx context.Context, patience time.Duration, p pool.Pool, roles []string) Result {
	write := writes(roles)
	err := askNothing(ctx, patience, func(ctx context.Context) error { return p.CheckAccess(ctx, write) })
	if err != nil {
		return poolFailure(err)
	}
	return ok("images can be %s", map[bool]string{false: "read", true: "read and written"}[write])
}

// writes says whether one of the roles makes images, or erases in them.
func writes(roles []string) bool {
	return slices.Contains(roles, "packer") || slices.Contains(roles, "cleaner")
}

func (p poolCheck) space(ctx context.Context) Result {
	space, err := ask(ctx, p.Patience, p.pool.Space)
	if err != nil {
		return poolFailure(err)
	}
	if space == pool.Unlimited {
		return p.tmpSpace(ctx)
	}
	r := ok("%s are free; a shard has up to %s", humanize.IBytes(uint64(space.Free)), humanize.IBytes(uint64(p.config.ShardMaxSize)))
	if space.Free < p.config.ShardMaxSize {
		r.State, r.Cure = Warning, "add disks or OSDs, raise the quota, or have another shards_active_pool"
	}
	return r
}

// tmpSpace checks the room on the disk where the images of a pool on S3 are built.
func (p poolCheck) tmpSpace(ctx context.Context) Result {
	if !writes(p.Roles) || p.config.S3.ReadOnly {
		return ok("the store has no limit that can be asked for")
	}
	space, err := ask(ctx, p.Patience, func(context.Context) (pool.Space, error) { return draftfile.Room(p.config.S3.TmpDirectory) })
	if err != nil {
		return failure(fmt.Errorf("tmp_directory %s: %w", p.config.S3.TmpDirectory, err), "make the directory, or name another one in tmp_directory")
	}
	r := ok("%s are free in tmp_directory; an image has up to %s", humanize.IBytes(uint64(space.Free)), humanize.IBytes(uint64(p.config.ShardMaxSize)))
	if space.Free < p.config.ShardMaxSize {
		r.State, r.Cure = Warning, "make room in tmp_directory, or name another one"
	}
	return r
}

// Usable returns nil, or *[storage.RefusedError] with the cure where a check fails
// without which a role cannot work in its pool. A store that does not answer is no
// failure: it may come back.
func Usable(ctx context.Context, patience time.Duration, role string, c config.Pool, p pool.Pool) error {
	roles := []string{role}
	loaded := driver(c, roles, func() bool { return false })
	for _, r := range []Result{loaded, allowed(ctx, patience, p, roles)} {
		if r.State == Failed {
			return &storage.RefusedError{Pool: p.Name(), Why: r.What + "; " + r.Cure}
		}
	}
	return nil
}
