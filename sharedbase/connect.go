// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"
)

const (
	// connectTimeout counts unless the DSN has a connect_timeout of its own.
	connectTimeout = 10 * time.Second
	// shortTimeout bounds an operation that touches a few rows, the wait for a
	// connection and for locks included. Operations that read whole tables
	// have no limit but the caller's; a dead peer ends them by deadPeer.
	shortTimeout = 30 * time.Second
	// deadPeer is how long a server that answers nothing is thought alive.
	deadPeer = 30 * time.Second
)

// SharedBase is a Winery database: the shards, the index of objects and the
// shards' tables. Its methods may be called from any number of goroutines.
type SharedBase struct {
	conns   connections
	pooler  pooler
	connect *pgx.ConnConfig // before pooler.prepare
	limit   int             // of connections
	streams int             // that have a connection beside those
	adders  int             // that have a connection each
	lease   time.Duration
	holder  Lease     // of the claims that are made here
	process uuid.UUID // of the heartbeats
	keeper  keeper
	observe observer
	// lockWait is how long Add and Delete wait for a lock, short is shortTimeout. Only tests change them.
	lockWait, short time.Duration
}

// New prepares access to the database of dsn: a postgresql:// URL, key=value
// pairs or service=NAME, as psycopg takes them. It does not connect yet:
// operations do, and report ErrUnavailable while that fails.
// applicationName is what the server shows for these connections unless the
// DSN says otherwise. A DSN's pool_max_conns, which psycopg does not know, comes
// before WithConnections. The error of a DSN that cannot be used shows no password.
func New(dsn, applicationName string, options ...Option) (*SharedBase, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	b := &SharedBase{limit: DefaultConnections, lease: DefaultLease, holder: thisProcess(applicationName), process: uuid.New(), lockWait: defaultLockWait, short: shortTimeout}
	for _, option := range options {
		option(b)
	}
	b.connect = cfg.ConnConfig
	if b.connect.RuntimeParams["application_name"] == "" {
		b.connect.RuntimeParams["application_name"] = applicationName
	}
	if b.connect.ConnectTimeout == 0 {
		b.connect.ConnectTimeout = connectTimeout
	}
	b.connect.DialFunc = dialer(b.connect.ConnectTimeout)
	b.connect.BuildFrontend = newFrontend
	if b.observe != nil {
		b.connect.Tracer = b.observe
	}
	cfg.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		registerByteaArrays(conn.TypeMap())
		return nil
	}
	return b, b.conns.open(cfg, &b.pooler, cmp.Or(int(cfg.MaxConns), b.limit), b.streams, b.adders)
}

// Close ends the connections, after the operations in flight. Claims that were
// not released before are no longer renewed, and their leases expire.
func (b *SharedBase) Close() {
	b.keeper.close()
	b.conns.close()
}

// dialer detects a dead peer: keepalives on an idle connection, TCP_USER_TIMEOUT
// while sent data is not acknowledged.
func dialer(timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadPeer / 2, Interval: deadPeer / 6, Count: 3},
		Control: func(network, _ string, c syscall.RawConn) error {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
			})
			return errors.Join(err, failed)
		},
	}
	return d.DialContext
}

// withShortTimeout runs an operation that touches a few rows, within the time for such.
func (b *SharedBase) withShortTimeout(ctx context.Context, what string, op func(ctx context.Context) error) error {
	return b.withTimeout(ctx, b.short, what, op)
}

func (b *SharedBase) withTimeout(ctx context.Context, limit time.Duration, what string, op func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return b.explain(ctx, what, op(limited))
}

// beginTx is beginWithin for transactions that may wait for a lock.
var beginTx = beginWithin(10 * time.Second)

// beginWithin begins a transaction that is READ COMMITTED whatever the database's
// default is, that waits for each lock for lockWait at most, and that the server
// ends if this process, or the network, stalls between two statements: so no
// process waits for locks of a dead one. jit and client_min_messages as in sessionSettings.
func beginWithin(lockWait time.Duration) string {
	return fmt.Sprintf("/* winery: Begin */ BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL jit = off; SET LOCAL client_min_messages = warning; "+
		"SET LOCAL lock_timeout = '%dms'; SET LOCAL idle_in_transaction_session_timeout = '15s'", lockWait.Milliseconds())
}

// inTx is withShortTimeout in a transaction.
func (b *SharedBase) inTx(ctx context.Context, what string, op func(ctx context.Context, tx pgx.Tx) error) error {
	return b.inTxOn(ctx, b.conns.rest, beginTx, what, op)
}

// inTxOn is inTx on a connection for another kind of work, in a transaction that the statement begin begins.
func (b *SharedBase) inTxOn(ctx context.Context, pool *pgxpool.Pool, begin, what string, op func(ctx context.Context, tx pgx.Tx) error) error {
	return b.withShortTimeout(ctx, what, func(ctx context.Context) error {
		return transaction(ctx, pool, begin, func(tx pgx.Tx) error { return op(ctx, tx) })
	})
}

// transaction runs op in a transaction that the statement begin begins. Once op has
// succeeded, the commit has until the deadline of ctx; where ctx was cancelled, it has
// ten seconds more: a commit that is cut off may still take effect, and then no process
// undoes it.
func transaction(ctx context.Context, pool *pgxpool.Pool, begin string, op func(tx pgx.Tx) error) error {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing after a commit
	if err := op(tx); err != nil {
		return err
	}
	committing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
			return
		}
		time.AfterFunc(releasing, cancel)
	})()
	err = tx.Commit(committing)
	if errors.Is(err, context.Canceled) && committing.Err() != nil {
		// Its outcome is unknown, as of any commit without an answer; the caller has cancelled nothing.
		return fmt.Errorf("the commit was not answered in time: %w", context.DeadlineExceeded)
	}
	return err
}

// persist repeats op while the database is unavailable, for the given time. What it does not allow is not tried again,
// nor is a change that is committed, if not replicated.
func persist(ctx context.Context, limit time.Duration, op func() error) error {
	attempt := func() error {
		err := op()
		if err != nil && (!errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotAllowed) || errors.Is(err, errUnreplicated)) {
			return backoff.Permanent(err)
		}
		return err
	}
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(limit/10), backoff.WithMaxElapsedTime(limit))
	return backoff.Retry(attempt, backoff.WithContext(pauses, ctx))
}
