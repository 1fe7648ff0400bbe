// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// errNoLZ4: the server cannot compress by lz4.
var errNoLZ4 = errors.New("this PostgreSQL cannot compress by lz4: it is older than version 14, or was built without lz4")

// Tune has PostgreSQL compress the contents in the tables of shards that are created
// from now on by lz4. Its own method, pglz, takes several times the CPU. Init and
// Upgrade do so, too; a database that Python Winery made is as its server's default.
// Tables that exist stay as they are. It fails where the server cannot compress by lz4.
func (b *SharedBase) Tune(ctx context.Context) error {
	return b.inTx(ctx, "setting the compression of contents", compressByLZ4)
}

// tune is Tune in another transaction, where the server can do so.
func tune(ctx context.Context, tx pgx.Tx) error {
	err := compressByLZ4(ctx, tx)
	if errors.Is(err, errNoLZ4) {
		return nil
	}
	return err
}

func compressByLZ4(ctx context.Context, tx pgx.Tx) error {
	method, err := compression(ctx, tx)
	if err != nil || method == lz4 {
		return err
	}
	if method == "" {
		return errNoLZ4
	}
	_, err = tx.Exec(ctx, "/* winery: CompressByLZ4 */ "+setLZ4)
	return err
}

const setLZ4 = "ALTER TABLE shard_template ALTER content SET COMPRESSION lz4"

// PlanTune returns the SQL that Tune would run, and "" where contents are compressed by lz4
// or the server cannot do so. It changes nothing.
func (b *SharedBase) PlanTune(ctx context.Context) (sql string, err error) {
	method, err := b.Compression(ctx)
	if err != nil || method == lz4 || method == "" {
		return "", err
	}
	return setLZ4 + ";\n", nil
}

const lz4 = "lz4"

// Compression returns the method by which contents in the tables of new shards are
// compressed, lz4 or pglz, and "" where the server knows no other than pglz.
func (b *SharedBase) Compression(ctx context.Context) (method string, err error) {
	err = b.withShortTimeout(ctx, "reading the compression of contents", func(ctx context.Context) error {
		method, err = compression(ctx, b.conns.rest)
		return err
	})
	return method, err
}

// compression is Compression. The column attcompression is read as JSON, for
// PostgreSQL 13 has none.
func compression(ctx context.Context, db querier) (method string, err error) {
	err = db.QueryRow(ctx, `/* winery: Compression */
		SELECT CASE WHEN 'lz4' = ANY (enumvals) THEN
			CASE to_jsonb(a) ->> 'attcompression' WHEN 'l' THEN 'lz4' WHEN 'p' THEN 'pglz' ELSE setting END
			ELSE '' END
		FROM pg_attribute a LEFT JOIN pg_settings ON name = 'default_toast_compression'
		WHERE attrelid = 'shard_template'::regclass AND attname = 'content'`).Scan(&method)
	return method, err
}
