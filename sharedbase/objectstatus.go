// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
)

// ObjectStatus is what the database says of an object with regard to one shard.
// None of the three: the shard's image should not have it, or not any more.
type ObjectStatus struct {
	Present   bool // in that shard
	Erasing   bool // marked deleted in that shard, or noted to be erased from its image
	Elsewhere bool // in another shard, or on its way into one
}

// ObjectStatuses looks up objects with regard to a shard, in the order of ids.
func (b *SharedBase) ObjectStatuses(ctx context.Context, shardID int64, ids []ObjID) ([]ObjectStatus, error) {
	found, err := b.objectStatuses(ctx, objectStatuses, shardID, ids)
	if errors.Is(err, ErrNotAttached) {
		found, err = b.objectStatuses(ctx, indexedStatuses, shardID, ids)
	}
	return found, err
}

const (
	objectStatuses = `/* winery: ObjectStatuses */
		SELECT at,
			coalesce(o.state = 'present' AND o.shard = $2, false),
			coalesce(o.state = 'deleted' AND o.shard = $2, false)
				OR EXISTS (SELECT FROM winery_erasure WHERE shard = $2 AND signature = wanted.id)
					AND NOT coalesce(o.state = 'present' AND o.shard = $2, false),
			coalesce(o.state = 'inflight' OR o.state = 'present' AND o.shard <> $2, false)
		FROM unnest($1::bytea[]) WITH ORDINALITY wanted (id, at) LEFT JOIN LATERAL (
			SELECT state, shard FROM signature2shard WHERE signature = wanted.id LIMIT 1) o ON true`
	// indexedStatuses is objectStatuses where the database has no table winery_erasure.
	indexedStatuses = `/* winery: IndexedStatuses */
		SELECT at,
			coalesce(o.state = 'present' AND o.shard = $2, false),
			coalesce(o.state = 'deleted' AND o.shard = $2, false),
			coalesce(o.state = 'inflight' OR o.state = 'present' AND o.shard <> $2, false)
		FROM unnest($1::bytea[]) WITH ORDINALITY wanted (id, at) LEFT JOIN LATERAL (
			SELECT state, shard FROM signature2shard WHERE signature = wanted.id LIMIT 1) o ON true`
)

func (b *SharedBase) objectStatuses(ctx context.Context, statement string, shardID int64, ids []ObjID) ([]ObjectStatus, error) {
	found := make([]ObjectStatus, len(ids))
	var at int
	var s ObjectStatus
	err := b.each(ctx, b.conns.lookups, fmt.Sprintf("looking up %d objects of shard number %d", len(ids), shardID),
		[]any{&at, &s.Present, &s.Erasing, &s.Elsewhere}, func() { found[at-1] = s }, statement, keysOf(ids), shardID)
	return found, err
}

// PresentObjects yields the objects that the index has present in a shard, in
// no particular order, or any limit of them if that is not 0. It takes a
// connection and a snapshot until it is done. After an error it yields nothing
// more.
func (b *SharedBase) PresentObjects(ctx context.Context, shardID int64, limit int) iter.Seq2[ObjID, error] {
	return func(yield func(ObjID, error) bool) {
		rows, err := b.conns.lists.Query(ctx, `/* winery: PresentObjects */
			SELECT signature FROM signature2shard WHERE shard = $1 AND state = 'present'
			LIMIT nullif($2, 0)`, shardID, limit)
		if err == nil {
			defer rows.Close()
			for rows.Next() {
				id, err := scanID(rows)
				if !yield(id, err) || err != nil {
					return
				}
			}
			err = rows.Err()
		}
		if err != nil {
			yield(ObjID{}, b.explain(ctx, fmt.Sprintf("listing the objects of shard number %d", shardID), err))
		}
	}
}

// RowSum is an object as a shard's table has it.
type RowSum struct {
	Found bool
	Sum   ObjID // the SHA-256 of its content; zero where that is NULL
	Size  int64 // of its content
}

// SoundRows yields the rows in the table of a claimed shard whose content has the
// SHA-256 that it is stored under, in no particular order. The server hashes all
// contents meanwhile, which takes as long as reading the table. After an error it
// yields nothing more.
func (b *SharedBase) SoundRows(ctx context.Context, c *Claim) iter.Seq2[RowSum, error] {
	return func(yield func(RowSum, error) bool) {
		rows, err := b.conns.lists.Query(ctx, `/* winery: SoundRows */
			SELECT key, octet_length(content) FROM `+quoteTable(c.name)+` WHERE sha256(content) = key`)
		if err == nil {
			defer rows.Close()
			for rows.Next() {
				row := RowSum{Found: true}
				var key []byte
				err := rows.Scan(&key, &row.Size)
				copy(row.Sum[:], key)
				if !yield(row, err) || err != nil {
					return
				}
			}
			err = rows.Err()
		}
		if err != nil {
			yield(RowSum{}, b.explain(ctx, "hashing the table of shard "+c.name, err))
		}
	}
}

// RowSums has the server hash the contents of objects in a shard's table, in
// the order of ids. ErrNoTable as for Content.
func (b *SharedBase) RowSums(ctx context.Context, shard string, ids []ObjID) ([]RowSum, error) {
	sums := make([]RowSum, len(ids))
	rows, err := b.conns.lists.Query(ctx, `/* winery: RowSums */
		SELECT at, sha256(t.content), coalesce(octet_length(t.content), 0)
		FROM unnest($1::bytea[]) WITH ORDINALITY wanted (id, at) CROSS JOIN LATERAL (
			SELECT content FROM `+quoteTable(shard)+` WHERE key = wanted.id LIMIT 1) t`, keysOf(ids))
	if err == nil {
		var at int
		var sum []byte
		var size int64
		_, err = pgx.ForEachRow(rows, []any{&at, &sum, &size}, func() error {
			sums[at-1] = RowSum{Found: true, Size: size}
			copy(sums[at-1].Sum[:], sum)
			return nil
		})
	}
	return sums, b.explain(ctx, fmt.Sprintf("hashing %d objects in the table of shard %s", len(ids), shard), err)
}
