// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// sliceSize is the largest content that is read in one piece.
const sliceSize = 4 << 20

// StreamTable calls fn for each object in the table of a claimed shard, in no
// particular order, and returns how many there were. All are of one snapshot,
// taken when the claim is checked at the beginning. Of an object that is larger
// than 4 MiB only a part is in memory at a time; content gives exactly size
// bytes, and is valid during the call. An error of fn ends the stream and is
// returned; ErrDamagedRow. The time it takes is limited by ctx only.
func (b *SharedBase) StreamTable(ctx context.Context, c *Claim,
	fn func(id ObjID, size int64, content io.Reader) error) (objects int64, err error) {
	var failed error // of fn
	each := func(id ObjID, size int64, content io.Reader) error {
		objects++
		failed = fn(id, size, content)
		return failed
	}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, b.conns.lists, snapshot, func(tx pgx.Tx) error {
		if err := c.holds(ctx, tx); err != nil {
			return err
		}
		large, err := b.streamSmall(ctx, tx, c.name, each)
		for i := 0; i < len(large) && err == nil; i++ {
			content := &sliced{ctx: ctx, base: b, tx: tx, shard: c.name, of: large[i]}
			err = each(large[i].id, large[i].size, content)
			if err == nil {
				err = content.failed
			}
		}
		return err
	})
	if failed != nil {
		return objects, failed
	}
	return objects, b.explain(ctx, "reading the table of shard "+c.name, err)
}

// holds checks the claim without a lock.
func (c *Claim) holds(ctx context.Context, tx pgx.Tx) error {
	var held bool
	err := tx.QueryRow(ctx, "/* winery: CheckClaim */ SELECT EXISTS (SELECT FROM shards WHERE id = $1 AND locker = $2 AND state = $3)",
		c.id, c.locker, c.State()).Scan(&held)
	if err == nil && !held {
		err = notHeld(ctx, tx, c.name, c.locker, c.State())
	}
	return err
}

type largeObject struct {
	id   ObjID
	size int64
}

// streamSmall streams what fits into one piece, and returns the others.
func (b *SharedBase) streamSmall(ctx context.Context, tx pgx.Tx, shard string,
	fn func(id ObjID, size int64, content io.Reader) error) (large []largeObject, err error) {
	var content bytes.Reader
	p := &copyParser{row: func(fields [][]byte) error {
		if len(fields) != 3 || len(fields[0]) != len(ObjID{}) || len(fields[1]) != 4 {
			return fmt.Errorf("shard %s: the table's row of key %x is %w", shard, fields[0], ErrDamagedRow)
		}
		id, size := ObjID(fields[0]), int64(binary.BigEndian.Uint32(fields[1]))
		if id == (ObjID{}) { // no content has this SHA-256, and no image can hold it
			return fmt.Errorf("shard %s: the table's row of key %x is %w", shard, id, ErrDamagedRow)
		}
		if fields[2] == nil {
			large = append(large, largeObject{id, size})
			return nil
		}
		content.Reset(fields[2])
		return fn(id, size, &content)
	}}
	sql := fmt.Sprintf(`/* winery: StreamTable */ COPY (SELECT key, octet_length(content),
		CASE WHEN octet_length(content) <= %d THEN content END FROM %s) TO STDOUT (FORMAT binary)`,
		sliceSize, quoteTable(shard))
	err = b.observe.send(sql, func() error {
		_, err := tx.Conn().PgConn().CopyTo(ctx, p, sql)
		return err
	})
	if err == nil {
		err = p.close()
	}
	return large, err
}

// sliced reads an object's content in slices, within the stream's snapshot.
type sliced struct {
	ctx    context.Context
	base   *SharedBase
	tx     pgx.Tx
	shard  string
	of     largeObject
	read   int64 // bytes fetched so far
	slice  []byte
	failed error
}

func (s *sliced) Read(p []byte) (int, error) {
	if s.failed != nil {
		return 0, s.failed
	}
	if len(s.slice) == 0 {
		if s.read == s.of.size {
			return 0, io.EOF
		}
		if s.failed = s.fetch(); s.failed != nil {
			return 0, s.failed
		}
	}
	n := copy(p, s.slice)
	s.slice = s.slice[n:]
	return n, nil
}

func (s *sliced) fetch() error {
	var err error
	s.slice, err = readSlice(s.ctx, s.tx, s.shard, s.of.id[:], s.read)
	s.read += int64(len(s.slice))
	return s.base.explain(s.ctx, fmt.Sprintf("reading object %x of shard %s", s.of.id, s.shard), err)
}

// readSlice reads a slice of a content in a shard's table, which begins at byte at.
func readSlice(ctx context.Context, db querier, shard string, key []byte, at int64) (slice []byte, err error) {
	err = db.QueryRow(ctx, `/* winery: ReadSlice */
		SELECT substring(content FROM $2 FOR $3) FROM `+quoteTable(shard)+" WHERE key = $1", key, at+1, sliceSize).Scan(&slice)
	return slice, err
}
