// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
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
	// maxConns bounds the connections of one SharedBase. The DSN, which Python
	// reads too, cannot carry pgx's own pool_max_conns.
	maxConns = 16
)

// libpqOnly are parameters of a DSN that mean something to libpq only: pgx
// would hand them to the server, which refuses them. What they ask for is
// replaced by the settings of dialer, or does no harm when left out.
var libpqOnly = []string{
	"fallback_application_name", "gssencmode", "keepalives", "keepalives_count", "keepalives_idle",
	"keepalives_interval", "load_balance_hosts", "sslcompression", "tcp_user_timeout",
}

// libpqGuards are parameters that must not be left out in silence.
var libpqGuards = []string{
	"hostaddr", "requirepeer", "sslcrl", "sslcrldir", "ssl_max_protocol_version", "ssl_min_protocol_version",
}

// SharedBase is a Winery database: the shards, the index of objects and the
// shards' tables. Its methods may be called from any number of goroutines.
type SharedBase struct {
	pool    *pgxpool.Pool
	lease   time.Duration
	holder  Lease // of the claims that are made here
	keeper  keeper
	observe observer
	// lockWait is how long Add waits for a lock. Only tests change it.
	lockWait time.Duration
}

// New prepares access to the database of dsn: a postgresql:// URL, key=value
// pairs or service=NAME, as psycopg takes them. It does not connect yet:
// operations do, and report ErrUnavailable while that fails.
// applicationName is what the server shows for these connections unless the
// DSN says otherwise. The error of a DSN that cannot be used shows no password.
func New(dsn, applicationName string, options ...Option) (*SharedBase, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, dsnError(dsn, err)
	}
	params := cfg.ConnConfig.RuntimeParams
	for _, key := range libpqGuards {
		if _, ok := params[key]; ok {
			return nil, fmt.Errorf("the database's DSN has %s, which is not supported: remove it", key)
		}
	}
	if params["application_name"] == "" {
		params["application_name"] = applicationName
	}
	for _, key := range libpqOnly {
		delete(params, key)
	}
	cfg.MaxConns = max(cfg.MaxConns, maxConns)
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	cfg.ConnConfig.DialFunc = dialer(cfg.ConnConfig.ConnectTimeout)
	cfg.ConnConfig.BuildFrontend = newFrontend
	b := &SharedBase{lease: DefaultLease, holder: thisProcess(applicationName), lockWait: defaultLockWait}
	for _, option := range options {
		option(b)
	}
	if b.observe != nil {
		cfg.ConnConfig.Tracer = b.observe
	}
	if b.pool, err = pgxpool.NewWithConfig(context.Background(), cfg); err != nil {
		return nil, dsnError(dsn, err)
	}
	return b, nil
}

// Close ends the connections, after the operations under way. Claims that were
// not given back before are not renewed any more, and run out.
func (b *SharedBase) Close() {
	b.keeper.close()
	b.pool.Close()
}

// dsnError leaves out what pgx quotes of a DSN that may hold a password: its
// masking is best effort.
func dsnError(dsn string, err error) error {
	if strings.Contains(dsn, "@") || strings.Contains(dsn, "pass") {
		return errors.New("the database's DSN cannot be parsed: it must be a postgresql:// URL or key=value pairs " +
			"(special characters escaped), and its certificate files and service must exist")
	}
	return fmt.Errorf("the database's DSN: %w", err)
}

// dialer notices a peer that has gone: keepalives where nothing is on its way,
// TCP_USER_TIMEOUT where something is and nobody acknowledges it.
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
	return b.withTimeout(ctx, shortTimeout, what, op)
}

func (b *SharedBase) withTimeout(ctx context.Context, limit time.Duration, what string, op func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return b.explain(ctx, what, op(limited))
}

// beginTx begins a READ COMMITTED transaction that waits for each lock for a
// limited time, and that the server ends if this process, or the network,
// stalls between two statements: nobody shall wait for locks of the dead.
const beginTx = "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '15s'"

// inTx is withShortTimeout in a transaction.
func (b *SharedBase) inTx(ctx context.Context, what string, op func(ctx context.Context, tx pgx.Tx) error) error {
	return b.withShortTimeout(ctx, what, func(ctx context.Context) error {
		return pgx.BeginTxFunc(ctx, b.pool, pgx.TxOptions{BeginQuery: beginTx}, func(tx pgx.Tx) error { return op(ctx, tx) })
	})
}

// persist repeats op while the database is unavailable, for the given time. A change that is committed, if not
// replicated, is not tried again.
func persist(ctx context.Context, limit time.Duration, op func() error) error {
	attempt := func() error {
		err := op()
		if err != nil && (!errors.Is(err, ErrUnavailable) || errors.Is(err, errUnreplicated)) {
			return backoff.Permanent(err)
		}
		return err
	}
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(limit))
	return backoff.Retry(attempt, backoff.WithContext(pauses, ctx))
}
