// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// DatabaseID distinguishes a database from every other one, including its copies.
// A dump that is restored, CREATE DATABASE … TEMPLATE and pg_upgrade give another
// id; a promoted standby and a restored base backup keep it.
type DatabaseID struct {
	System string `json:"system"` // identifier of the server's data directory, see pg_control_system()
	OID    uint32 `json:"oid"`    // of the database in it
	Name   string `json:"name"`   // for people: a database may be renamed
}

// Same reports whether both are ids of one database.
func (d DatabaseID) Same(other DatabaseID) bool {
	return d.System == other.System && d.OID == other.OID
}

// ID returns this database's id. Its user needs the right to execute
// pg_control_system(), which PostgreSQL grants to every user.
func (b *SharedBase) ID(ctx context.Context) (id DatabaseID, err error) {
	err = b.withShortTimeout(ctx, "reading the database's identity", func(ctx context.Context) error {
		return b.conns.rest.QueryRow(ctx, `/* winery: DatabaseID */
			SELECT system_identifier::text, oid, datname FROM pg_control_system(), pg_database
			WHERE datname = current_database()`).Scan(&id.System, &id.OID, &id.Name)
	})
	return id, err
}

// PoolRecord is a pool as the database knows it.
type PoolRecord struct {
	Name       string
	UUID       uuid.UUID // as the pool's marker has it
	Adopted    time.Time
	Role, Host string // of the process that adopted the pool
}

// PoolRecords returns the pools that were adopted, by name.
func (b *SharedBase) PoolRecords(ctx context.Context) (map[string]PoolRecord, error) {
	records := map[string]PoolRecord{}
	var r PoolRecord
	err := b.each(ctx, b.conns.rest, "listing the recorded pools", []any{&r.Name, &r.UUID, &r.Adopted, &r.Role, &r.Host}, func() { records[r.Name] = r },
		"/* winery: PoolRecords */ SELECT name, uuid, adopted, role, host FROM winery_pool")
	return records, ignoreNotAttached(err)
}

// RecordPool records that a pool has this UUID. Unless replace is set, a pool
// that is recorded already stays as it is.
func (b *SharedBase) RecordPool(ctx context.Context, name string, id uuid.UUID, replace bool) error {
	return b.withShortTimeout(ctx, "recording pool "+name, func(ctx context.Context) error {
		_, err := b.conns.rest.Exec(ctx, `/* winery: RecordPool */
			INSERT INTO winery_pool AS p (name, uuid, role, host) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) DO UPDATE SET uuid = excluded.uuid, adopted = excluded.adopted, role = excluded.role, host = excluded.host
			WHERE $5`, name, id, b.holder.Role, b.holder.Host, replace)
		return err
	})
}
