// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/jackc/pgx/v5"
)

// ErrExists: the shard that was to be imported is in the database already, or
// is being imported this moment.
var ErrExists = errors.New("the shard is in the database already")

// nameSize is the length of the column shards.name.
const nameSize = 32

// Imported says what ImportShard found in an image.
type Imported struct {
	Objects int64 // keys
	New     int64 // those that no shard had: they are this shard's now
}

// ImportShard makes a readonly shard of an image that is in the pool already:
// its row, and an index row for each of keys that no other shard has present.
// record is of the image. All is one transaction, which takes as long as keys and the index take:
// killed at any moment it leaves nothing, and what it adds is seen at once or
// not at all. An error that keys yields ends it and is returned. ErrExists
// where there is a shard of that name; but one that an importer of Python's
// left behind when it died is completed. What was deleted in that one meanwhile
// stays deleted, to be erased from the image.
//
// Keys gather in a temporary table first and go into the index in their order,
// as Add's do. While the second part lasts an Add of one of them waits, and
// may fail with ErrUnavailable. Another import waits, for up to an hour.
func (b *SharedBase) ImportShard(ctx context.Context, name, pool string, record ImageRecord, keys iter.Seq2[ObjID, error]) (done Imported, err error) {
	if name == "" || len(name) > nameSize {
		return done, fmt.Errorf("%q cannot be a shard's name: a name has 1 to %d characters", name, nameSize)
	}
	source := newKeySource(keys)
	err = transaction(ctx, b.conns.lists, beginTx, func(tx pgx.Tx) error {
		id, err := importedShard(ctx, tx, name, pool)
		if err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `/* winery: CreateImportedKeys */
			CREATE TEMPORARY TABLE winery_import (key bytea NOT NULL) ON COMMIT DROP`); err != nil {
			return err
		}
		done.Objects, err = b.copyKeys(ctx, tx, `/* winery: CopyImportedKeys */
			COPY pg_temp.winery_import (key) FROM STDIN (FORMAT binary)`, source)
		if err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, "/* winery: WaitForImports */ SET LOCAL lock_timeout = '1h'"); err != nil {
			return err
		}
		added, err := tx.Exec(ctx, `/* winery: IndexImportedKeys */
			INSERT INTO signature2shard AS o (signature, shard, state)
			SELECT key, $1, 'present' FROM pg_temp.winery_import
			WHERE NOT EXISTS (SELECT FROM winery_erasure WHERE shard = $1 AND signature = key) ORDER BY key
			ON CONFLICT (signature) DO UPDATE SET shard = excluded.shard, state = 'present'
			WHERE o.state <> 'present' AND NOT (o.state = 'deleted' AND o.shard = excluded.shard)`, id)
		if err != nil {
			return err
		}
		done.New = added.RowsAffected()
		return recordImage(ctx, tx, id, record)
	})
	switch failed := source.close(); {
	case failed != nil:
		return Imported{}, failed
	case errors.Is(err, ErrExists):
		return Imported{}, fmt.Errorf("shard %s: %w", name, err)
	case err != nil:
		return Imported{}, b.explain(ctx, "importing shard "+name, err)
	}
	return done, nil
}

// importedShard makes the row of a shard to import. The advisory lock is for
// another import of the name not to wait for this one.
func importedShard(ctx context.Context, tx pgx.Tx, name, pool string) (id int64, err error) {
	err = tx.QueryRow(ctx, `/* winery: ImportShard */ INSERT INTO shards AS s (name, state, pool_name)
		SELECT $1::text, 'readonly', $2 WHERE pg_try_advisory_xact_lock(hashtextextended('winery import ' || $1::text, 0))
		ON CONFLICT (name) DO NOTHING RETURNING id, `+notify, name, pool).Scan(&id, nil)
	if errors.Is(err, pgx.ErrNoRows) {
		id, err = abandonedImport(ctx, tx, name, pool)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrExists
	}
	return id, err
}

// abandonedImport completes the row that Python commits before it imports. It
// is dead if it is old and no transaction that adds index rows holds it.
func abandonedImport(ctx context.Context, tx pgx.Tx, name, pool string) (id int64, err error) {
	err = tx.QueryRow(ctx, `/* winery: CompleteImport */
		UPDATE shards s SET state = 'readonly', pool_name = $2, locker = NULL, locker_ts = NULL
		FROM (SELECT id FROM shards WHERE name = $1 AND state = 'importing' AND locker_ts < now() - interval '10 minutes'
			FOR UPDATE SKIP LOCKED) dead
		WHERE s.id = dead.id RETURNING s.id, `+notify, name, pool).Scan(&id, nil)
	return id, err
}

// copyKeys sends keys to the server by a statement COPY … FROM STDIN (FORMAT binary),
// whose table has a column of bytea. It returns how many there were.
func (b *SharedBase) copyKeys(ctx context.Context, tx pgx.Tx, sql string, keys *keySource) (copied int64, err error) {
	err = b.observe.send(sql, func() error {
		done, err := tx.Conn().PgConn().CopyFrom(ctx, keys, sql)
		copied = done.RowsAffected()
		return err
	})
	return copied, err
}

// keySource gives keys to COPY, in the binary format that [copyParser] describes.
// Where the connection is lost, COPY ends while a goroutine still reads.
type keySource struct {
	mu     sync.Mutex
	next   func() (ObjID, error, bool)
	stop   func()
	err    error // of the keys
	closed bool
	ended  bool         // all keys are in unread
	unread bytes.Buffer // what Read will return next
}

func newKeySource(keys iter.Seq2[ObjID, error]) *keySource {
	s := &keySource{}
	s.next, s.stop = iter.Pull2(keys)
	s.unread.WriteString(copySignature)
	s.unread.Write(make([]byte, 8)) // no flags, no extension
	return s
}

// Read implements [io.Reader].
func (s *keySource) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	for !s.ended && s.unread.Len() < len(p) {
		key, err, more := s.next()
		switch {
		case err != nil:
			s.err = err
			return 0, err
		case more:
			s.unread.Write([]byte{0, 1, 0, 0, 0, byte(len(key))}) // one field, and its length
			s.unread.Write(key[:])
		default:
			s.unread.Write([]byte{0xff, 0xff}) // -1: no more rows
			s.ended = true
		}
	}
	return s.unread.Read(p)
}

// close ends the keys, and returns the error that they ended with.
func (s *keySource) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.stop()
	return s.err
}
