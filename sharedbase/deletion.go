// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Requester says who asked for a deletion, for its record. Each part may be "".
type Requester struct {
	Client    string // its name, if it authenticated
	Address   string // of the client's end of the connection
	RequestID string // of the request in the log
	TraceID   string // of W3C Trace Context
}

type requesterKey struct{}

// WithRequester returns a context whose deletions are recorded with r.
func WithRequester(ctx context.Context, r Requester) context.Context {
	return context.WithValue(ctx, requesterKey{}, r)
}

// Deletion is the record of a deletion.
type Deletion struct {
	At time.Time // by the database's clock
	ID ObjID
	Requester
	Role, Host string // of the process that deleted the object
}

// deletionArgs are the arguments of a statement that records a deletion.
func (b *SharedBase) deletionArgs(ctx context.Context, id ObjID, shardID int64) pgx.NamedArgs {
	by, _ := ctx.Value(requesterKey{}).(Requester)
	return pgx.NamedArgs{
		"id": id[:], "shard": shardID, "client": asText(by.Client), "address": asText(by.Address),
		"request": asText(by.RequestID), "trace": asText(by.TraceID), "role": b.holder.Role, "host": b.holder.Host,
	}
}

// Deletions calls found with the records of deletions since a moment, the oldest
// first. With ids it is called with those of these objects alone. An error of found
// ends the listing. A database without the tables winery_* has no records.
func (b *SharedBase) Deletions(ctx context.Context, since time.Time, ids []ObjID, found func(Deletion) error) error {
	rows, err := b.conns.lists.Query(ctx, `/* winery: Deletions */
		SELECT at, signature, client, address, request, trace, role, host FROM winery_deletion
		WHERE at >= $1 AND (cardinality($2::bytea[]) = 0 OR signature = ANY ($2)) ORDER BY at`, since, keysOf(ids))
	if err == nil {
		var d Deletion
		var key []byte
		_, err = pgx.ForEachRow(rows, []any{&d.At, &key, &d.Client, &d.Address, &d.RequestID, &d.TraceID, &d.Role, &d.Host}, func() error {
			copy(d.ID[:], key)
			return found(d)
		})
	}
	return ignoreNotAttached(b.explain(ctx, "listing deletions", err))
}
