// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// list returns the rows of a statement, each as scan reads it, within the time for short operations.
func list[T any](ctx context.Context, b *SharedBase, on *pgxpool.Pool, what string, scan pgx.RowToFunc[T], sql string, args ...any) (all []T, err error) {
	err = b.withShortTimeout(ctx, what, func(ctx context.Context) (err error) {
		rows, _ := on.Query(ctx, sql, args...) // its error comes back from CollectRows
		all, err = pgx.CollectRows(rows, scan)
		return err
	})
	return all, err
}

// each reads the rows of a statement into the variables of row, one after another, and calls do with each, within the
// time for short operations.
func (b *SharedBase) each(ctx context.Context, on *pgxpool.Pool, what string, row []any, do func(), sql string, args ...any) error {
	return b.withShortTimeout(ctx, what, func(ctx context.Context) error {
		rows, _ := on.Query(ctx, sql, args...) // its error comes back from ForEachRow
		_, err := pgx.ForEachRow(rows, row, func() error { do(); return nil })
		return err
	})
}
