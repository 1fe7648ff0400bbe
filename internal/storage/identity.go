// SPDX-License-Identifier: GPL-3.0-or-later

package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"winery/internal/hang"
	"winery/internal/inventory"
	"winery/pool"
	"winery/sharedbase"
)

// Marker is what a pool's marker says, as JSON.
type Marker struct {
	UUID     uuid.UUID             `json:"uuid"`     // of the pool
	Database sharedbase.DatabaseID `json:"database"` // that owns the pool
}

// Identity is what a pool and a database say of each other.
type Identity struct {
	State    IdentityState
	Marker   Marker                // zero without a marker
	Record   sharedbase.PoolRecord // zero without a record
	Database sharedbase.DatabaseID
	Why      error // *RefusedError: why the pool cannot be used; nil where it can, or could be adopted
}

// IdentityState says whether a pool is a database's.
type IdentityState string

// The states of a pool's identity.
const (
	// Recorded means that marker and record agree.
	Recorded IdentityState = "ok"
	// New: there is no marker, and no record. A role adopts the pool.
	New IdentityState = "new"
	// NotRecorded: the marker names this database, which has no record. An
	// adoption was interrupted, or the database is older than the adoption.
	NotRecorded IdentityState = "not recorded"
	// NoMarker: the database has a record, the pool has no marker.
	NoMarker IdentityState = "marker missing"
	// OtherPool: the marker has another UUID than the record.
	OtherPool IdentityState = "another pool"
	// OtherDatabase: the marker names another database.
	OtherDatabase IdentityState = "another database's"
	// NoPool: there is no such folder, or Ceph pool.
	NoPool IdentityState = "does not exist"
	// Unavailable: the store or the database does not answer.
	Unavailable IdentityState = "unavailable"
	// NotCompared: the database does not answer, and the store was not asked.
	NotCompared IdentityState = "not compared"
)

// RefusedError says that a pool is not this database's to work in, or not usable by
// this process, and what to do. It does not pass by itself.
type RefusedError struct {
	Pool string
	Why  string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("pool %q: %s", e.Pool, e.Why) }

func refused(p pool.Pool, why string, args ...any) error {
	return &RefusedError{p.Name(), fmt.Sprintf(why, args...)}
}

// Identify reads marker and record. Its error says that one of them could not be
// read, or is not a marker.
func Identify(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool) (i Identity, err error) {
	if i.Database, err = base.ID(ctx); err != nil {
		return i, err
	}
	records, err := base.PoolRecords(ctx)
	if err != nil {
		return i, err
	}
	record, recorded := records[p.Name()]
	i.Record = record
	text, err := p.Marker(ctx)
	switch {
	case errors.Is(err, pool.ErrNoPool), errors.Is(err, pool.ErrNoMarker):
		i.unmarked(p, recorded, err)
		return i, nil
	case err != nil:
		return i, err
	}
	if err := json.Unmarshal(text, &i.Marker); err != nil {
		return i, refused(p, "the pool's marker cannot be read: %v; compare the marker with a backup, or replace it by \"wineryctl pool adopt %s\"", err, p.Name())
	}
	i.marked(p, recorded)
	return i, nil
}

// IdentifyWithin is Identify, but stops waiting after the limit, even if a call into
// the store hangs. With an error, the state is Unavailable.
func IdentifyWithin(ctx context.Context, limit time.Duration, base *sharedbase.SharedBase, p pool.Pool) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found, left, err := hang.Call(ctx, 0, func(ctx context.Context) (Identity, error) { return Identify(ctx, base, p) })
	if left != nil {
		err = fmt.Errorf("pool %q: the store does not answer: %w", p.Name(), ctx.Err())
	}
	if err != nil {
		found.State = Unavailable
	}
	return found, err
}

// unmarked fills in State and Why of a pool without a marker; err says what is
// missing.
func (i *Identity) unmarked(p pool.Pool, recorded bool, err error) {
	i.State = New
	switch {
	case errors.Is(err, pool.ErrNoPool):
		i.State = NoPool
	case recorded:
		i.State = NoMarker
	default:
		return
	}
	missing := strings.TrimPrefix(err.Error(), "pool "+p.Name()+": ")
	if recorded {
		missing += "; is the file system mounted?"
	}
	i.Why = refused(p, "%s (run \"wineryctl pool init %s\" for a new pool)", missing, p.Name())
}

// marked fills in State and Why of a pool with a marker.
func (i *Identity) marked(p pool.Pool, recorded bool) {
	owner := i.Marker.Database
	switch {
	case !owner.Same(i.Database):
		i.State = OtherDatabase
		i.Why = refused(p, "the pool belongs to database %s, this database is %s; after a restore run \"wineryctl pool adopt %s\"", describe(owner), describe(i.Database), p.Name())
	case !recorded:
		i.State = NotRecorded
	case i.Marker.UUID != i.Record.UUID:
		i.State = OtherPool
		i.Why = refused(p, "the pool's marker has UUID %s, the database recorded %s; is another file system mounted? (see \"wineryctl pool adopt --help\")",
			i.Marker.UUID, i.Record.UUID)
	default:
		i.State = Recorded
	}
}

func describe(d sharedbase.DatabaseID) string {
	return fmt.Sprintf("%q (oid %d of server %s)", d.Name, d.OID, d.System)
}

// Init creates a pool if necessary (see [pool.Pool.Init]), and marks and records
// it; done is false if it was marked and recorded already. It refuses a pool that
// lacks images that the database has in it, and a pool of another database. It
// returns the difference for a pool that it has marked or recorded.
func Init(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool) (done bool, d inventory.Difference, err error) {
	i, err := Identify(ctx, base, p)
	if err != nil || i.State == Recorded {
		return false, d, err
	}
	if i.State == NoPool {
		if err := create(ctx, base, p); err != nil {
			return false, d, err
		}
		if i, err = Identify(ctx, base, p); err != nil {
			return false, d, err
		}
	}
	if i.State != NoMarker && i.Why != nil {
		return false, d, i.Why
	}
	if d, err = inventory.Compare(ctx, base, p); err != nil {
		return false, d, err
	}
	if n := len(d.Missing); n > 0 {
		return false, d, lacking(p, n, d.Missing[0])
	}
	return true, d, i.mark(ctx, base, p)
}

// create makes a pool, unless the database has images in it: then it existed, and
// a folder that is made now would be below its mount point.
func create(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool) error {
	packed, err := base.ListShards(ctx, sharedbase.ShardFilter{Pool: p.Name(), States: []sharedbase.ShardState{
		sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.StateReadOnly,
	}})
	if err != nil {
		return err
	}
	if len(packed) > 0 {
		return lacking(p, len(packed), packed[0].Name)
	}
	return p.Init(ctx)
}

// lacking refuses a pool that lacks images.
func lacking(p pool.Pool, images int, first string) error {
	return refused(p, "the pool lacks %d images that the database records in it, the first is %s; is the file system mounted?", images, first)
}

// adopt marks and records a pool that has no marker, or no record, if it holds
// what the database says.
func adopt(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool, i Identity) error {
	d, err := inventory.Compare(ctx, base, p)
	if err != nil {
		return err
	}
	switch {
	case len(d.Missing) > 0:
		return lacking(p, len(d.Missing), d.Missing[0])
	case len(d.Unknown) > 0:
		return refused(p, "the pool has %d images that are not in the database, the first is %s; if the pool belongs to this database, run \"wineryctl pool init %s\"",
			len(d.Unknown), d.Unknown[0], p.Name())
	}
	if newer := d.Newer(); len(newer) > 0 {
		s := newer[0]
		return refused(p, "the pool has the complete image of shard %s, whose state in the database is %s; was an older backup restored? (run \"wineryctl pool init %s\" and \"wineryctl index reconcile\")",
			s.Name, s.State, p.Name())
	}
	if err := i.mark(ctx, base, p); err != nil {
		return fmt.Errorf("pool %q is new, and this process could not write its marker: run \"wineryctl pool init %[1]s\": %[2]w", p.Name(), err)
	}
	return nil
}

// mark writes the marker, unless the pool has this database's, and then the
// record. Interrupted in between it leaves [NotRecorded].
func (i Identity) mark(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool) error {
	switch i.State {
	case New:
		i.Marker.UUID = uuid.New()
	case NoMarker:
		i.Marker.UUID = i.Record.UUID
	case Recorded, NotRecorded, OtherPool, OtherDatabase, NoPool, Unavailable, NotCompared: // the marker's UUID remains
	}
	if i.State != NotRecorded {
		err := i.write(ctx, p, false)
		if err != nil && !errors.Is(err, pool.ErrExists) { // another role was faster: read its marker
			return err
		}
		now, err := Identify(ctx, base, p)
		if err != nil {
			return err
		}
		if now.State == OtherDatabase {
			return now.Why
		}
		i.Marker.UUID = now.Marker.UUID
	}
	return base.RecordPool(ctx, p.Name(), i.Marker.UUID, false)
}

func (i Identity) write(ctx context.Context, p pool.Pool, replace bool) error {
	text, err := json.Marshal(Marker{i.Marker.UUID, i.Database})
	if err != nil {
		return err
	}
	return p.SetMarker(ctx, append(text, '\n'), replace)
}

// Adopt assigns a pool to this database, even if another database owns it:
// DESTRUCTIVE where the other database is in use, because both would then write
// to the pool. The pool keeps its UUID, if it has one. What may be another pool than the
// database knows, which is mounted in the place of that one, is refused and stays
// unchanged, unless replaceIdentity is set: the marker has another UUID than the
// database recorded, or the pool lacks images that the database has in it. It returns the
// difference.
func Adopt(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool, replaceIdentity bool) (inventory.Difference, error) {
	i, err := Identify(ctx, base, p)
	if err != nil && !errors.As(err, new(*RefusedError)) {
		return inventory.Difference{}, err
	}
	if i.State == NoPool {
		return inventory.Difference{}, i.Why
	}
	d, failure := inventory.Compare(ctx, base, p)
	switch {
	case replaceIdentity: // also where an image cannot be read
	case failure != nil:
		return d, failure
	case i.Record.UUID != uuid.Nil && i.Marker.UUID != uuid.Nil && i.Record.UUID != i.Marker.UUID:
		return d, mayBeAnother(p, "the pool's marker has UUID %s, the database recorded %s", i.Marker.UUID, i.Record.UUID)
	case len(d.Missing) > 0:
		return d, mayBeAnother(p, "the pool lacks %d images that the database records in it, the first is %s", len(d.Missing), d.Missing[0])
	}
	if i.Marker.UUID == uuid.Nil {
		i.Marker.UUID = uuid.New()
	}
	if err := i.write(ctx, p, true); err != nil {
		return d, err
	}
	return d, errors.Join(base.RecordPool(ctx, p.Name(), i.Marker.UUID, true), failure)
}

// mayBeAnother refuses to adopt what may not be the pool that the database knows.
func mayBeAnother(p pool.Pool, why string, args ...any) error {
	return refused(p, why+"; is another file system mounted? Nothing was changed (if it is the pool of this database, add --replace-identity: see \"wineryctl pool adopt --help\")", args...)
}
