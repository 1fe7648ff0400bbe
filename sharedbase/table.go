// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// tablePrefix and a shard's name are the name of its table.
const tablePrefix = "shard_"

func quoteTable(shard string) string { return pgx.Identifier{tablePrefix + shard}.Sanitize() }

// The functions that create and drop tables, see sql/extension/9.sql. Users need the right to call them, but none to
// create or drop tables.
const (
	createFunction      = "winery_create_table(text, uuid)"
	dropFunction        = "winery_drop_table(text, uuid, integer)"
	dropAdoptedFunction = "winery_drop_adopted_table(text, uuid)"
)

// createTable makes the table of a shard that is writing by locker, or that is
// standby and has none: *StateError. It does nothing where the table exists.
func createTable(ctx context.Context, tx pgx.Tx, shard string, state ShardState, locker uuid.UUID) error {
	var held bool
	err := tx.QueryRow(ctx, "/* winery: CreateTable */ SELECT winery_create_table($1, $2)", shard, orNull(locker)).Scan(&held)
	if err == nil && !held {
		err = notHeld(ctx, tx, shard, locker, state)
	}
	return err
}

// Content is an object in a shard's table.
type Content struct {
	Size  int64  // in bytes; -1 where the table does not have the object
	Bytes []byte // nil where it was not asked for; not nil where it is empty
}

// Content reads objects from a shard's table, in the order of ids: the sizes of
// all, and the contents of those of up to atMost bytes. PostgreSQL does not read
// the contents of others; a negative atMost asks for sizes only. ErrNoTable says
// that the shard has been cleaned meanwhile: its image has its objects.
func (b *SharedBase) Content(ctx context.Context, shard string, ids []ObjID, atMost int64) ([]Content, error) {
	found := make([]Content, len(ids))
	for i := range found {
		found[i].Size = -1
	}
	var at int
	var c Content
	err := b.each(ctx, b.conns.lookups, fmt.Sprintf("reading %d objects of shard %s", len(ids), shard),
		[]any{&at, &c.Size, &c.Bytes}, func() { found[at-1] = c }, contentStatement(shard), keysOf(ids), atMost)
	return found, err
}

// contentStatement is made like locateStatement, for the same reason. Python's
// tables may have NULL for a content, which is none.
func contentStatement(shard string) string {
	return `/* winery: Content */ SELECT at, coalesce(t.size, -1), CASE WHEN t.size <= $2 THEN t.content END
		FROM unnest($1::bytea[]) WITH ORDINALITY wanted (id, at) CROSS JOIN LATERAL (
		SELECT content, octet_length(content)::bigint AS size FROM ` + quoteTable(shard) + ` WHERE key = wanted.id LIMIT 1) t`
}

// TableSize counts the objects in a shard's table and the bytes of their
// contents, reading all of it (but not the contents). ErrUnavailable if another
// session has locked the table for ten seconds.
func (b *SharedBase) TableSize(ctx context.Context, shard string) (objects, bytes int64, err error) {
	err = transaction(ctx, b.conns.lists, beginTx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `/* winery: TableSize */
			SELECT count(*), coalesce(sum(octet_length(content)), 0) FROM `+quoteTable(shard)).
			Scan(&objects, &bytes)
	})
	return objects, bytes, b.explain(ctx, "measuring the table of shard "+shard, err)
}
