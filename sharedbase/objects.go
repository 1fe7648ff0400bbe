// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ObjID names an object: the SHA-256 of its content.
type ObjID = [32]byte

// Location is the shard that has an object, as it was when the index was read.
type Location struct {
	ShardID int64 // 0: no shard has the object
	Shard   string
	Pool    string
	State   ShardState
}

// Locate finds the shards of objects, in the order of ids, in one round trip.
// An object that is absent or deleted has the zero Location.
func (b *SharedBase) Locate(ctx context.Context, ids []ObjID) ([]Location, error) {
	found := make([]Location, len(ids))
	var at int
	var l Location
	err := b.each(ctx, b.conns.lookups, fmt.Sprintf("looking up %d objects", len(ids)),
		[]any{&at, &l.ShardID, &l.Shard, &l.Pool, &l.State}, func() { found[at-1] = l }, locateStatement, keysOf(ids))
	return found, err
}

// One lookup per key, with a plan that is right for any size of the table: a plan
// for = ANY depends on the current size, and is kept while the table grows.
const locateStatement = `/* winery: Locate */
	SELECT at, s.* FROM unnest($1::bytea[]) WITH ORDINALITY wanted (id, at) CROSS JOIN LATERAL (
	SELECT s.id, s.name::text, s.pool_name, s.state::text FROM signature2shard o JOIN shards s ON s.id = o.shard
	WHERE o.signature = wanted.id AND o.state = 'present' LIMIT 1) s`

// ListObjects returns the ids of up to limit objects that are present, in
// ascending order, beginning after the given one.
func (b *SharedBase) ListObjects(ctx context.Context, after ObjID, limit int) ([]ObjID, error) {
	rows, err := b.conns.lists.Query(ctx, `/* winery: ListObjects */ SELECT signature FROM signature2shard
		WHERE state = 'present' AND signature > $1 ORDER BY signature LIMIT $2`, after[:], limit)
	var ids []ObjID
	if err == nil {
		ids, err = pgx.CollectRows(rows, scanID)
	}
	return ids, b.explain(ctx, "listing objects", err)
}

func scanID(row pgx.CollectableRow) (ObjID, error) {
	var key []byte
	if err := row.Scan(&key); err != nil {
		return ObjID{}, err
	}
	if len(key) != len(ObjID{}) {
		return ObjID{}, fmt.Errorf("the index has the id %x, which is not a SHA-256", key)
	}
	return ObjID(key), nil
}

// keysOf makes ids a bytea[].
func keysOf(ids []ObjID) [][]byte {
	keys := make([][]byte, len(ids))
	for i := range ids {
		keys[i] = ids[i][:]
	}
	return keys
}
