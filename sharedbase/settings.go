// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// UnsafeSetting is a setting of the server that Winery should not run with.
type UnsafeSetting struct{ Name, Value, Consequence string }

// consequences are those of the settings that UnsafeSettings asks for.
var consequences = map[string]string{
	"fsync":              "a crash of the host loses acknowledged objects and may destroy the database: turn it on",
	"full_page_writes":   "a crash of the host may destroy pages of the database: turn it on",
	"synchronous_commit": "a crash or a failover loses acknowledged objects: turn it on",
	"client_min_messages": "PostgreSQL does not say that a commit is not on the synchronous standby, and a failover loses acknowledged objects: " +
		"behind a connection pooler it must be warning or lower, by ALTER ROLE or ALTER DATABASE",
	"default_transaction_isolation": "concurrent adds fail: behind a connection pooler it must be read committed, " +
		"by ALTER ROLE or ALTER DATABASE",
}

// UnsafeSettings returns the settings by which an acknowledged object can be lost, or that make calls fail.
func (b *SharedBase) UnsafeSettings(ctx context.Context) ([]UnsafeSetting, error) {
	scan := func(row pgx.CollectableRow) (s UnsafeSetting, err error) {
		err = row.Scan(&s.Name, &s.Value)
		s.Consequence = consequences[s.Name]
		return s, err
	}
	return list(ctx, b, b.conns.rest, "reading the server's settings", scan, `/* winery: UnsafeSettings */
		SELECT name, setting FROM pg_settings
		WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
			OR current_setting('synchronous_standby_names') <> '' AND
				(name = 'synchronous_commit' AND setting = 'local' OR name = 'client_min_messages' AND setting IN ('error', 'fatal', 'panic'))
			OR name = 'default_transaction_isolation' AND setting <> 'read committed' ORDER BY name`)
}
