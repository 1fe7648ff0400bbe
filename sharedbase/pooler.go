// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrPooled: between this program and the server is a connection pooler, such as PgBouncer, which passes no
// notifications on.
var ErrPooled = errors.New("a connection pooler is in front of the database")

// pooler reports whether connections go through a connection pooler. One that pools by transaction hands each
// transaction to any of its connections to the server, so that nothing of a session survives: no prepared
// statement, no setting, no LISTEN.
type pooler struct {
	asked, found atomic.Bool
}

// ask makes a connection to find out, once: a pooler tells its clients numbers of processes that it makes up.
func (p *pooler) ask(ctx context.Context, cfg *pgx.ConnConfig) (found bool, err error) {
	if p.asked.Load() {
		return p.found.Load(), nil
	}
	conn, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(ctx) }()
	results, err := conn.Exec(ctx, "/* winery: DetectPooler */ SELECT pg_backend_pid()").ReadAll()
	if err != nil {
		return false, err
	}
	p.found.Store(string(results[0].Rows[0][0]) != strconv.FormatUint(uint64(conn.PID()), 10))
	p.asked.Store(true)
	return p.found.Load(), nil
}

// sessionSettings are those of each connection, whatever the database's are. An Add must not fail with a
// serialization failure, compiling a query over 100,000 shards takes longer than the query, and the server must
// send the warning that commitWarnings looks for.
var sessionSettings = settings{"default_transaction_isolation": "read committed", "jit": "off", "client_min_messages": "warning"}

// lookupSettings are those of the connections for lookups beside: each statement finds rows by their keys, so that one
// plan is right for all arguments and sizes. By default PostgreSQL makes a plan for each lookup of a few objects, which
// takes a fourth of its time.
var lookupSettings = settings{"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}

// settings are values of the server's parameters by their names.
type settings map[string]string

// prepare completes the configuration of a connection before it is made; the connection has more settings than
// sessionSettings. Through a pooler statements are not prepared, and sessions have no settings, because it would refuse
// unknown ones. Transactions of several statements still get their settings from beginTx.
func (p *pooler) prepare(ctx context.Context, cfg *pgx.ConnConfig, more settings) error {
	found, err := p.ask(ctx, cfg)
	if err != nil {
		return err
	}
	if found {
		cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		return nil
	}
	maps.Copy(cfg.RuntimeParams, sessionSettings)
	maps.Copy(cfg.RuntimeParams, more)
	return nil
}
