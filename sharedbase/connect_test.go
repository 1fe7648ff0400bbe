// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// keyValue writes a DSN as key=value pairs.
func keyValue(t testing.TB, dsn string) string {
	t.Helper()
	c := must(pgconn.ParseConfig(dsn))(t)
	pairs := "host=" + c.Host + " port=" + strconv.Itoa(int(c.Port)) + " user=" + c.User + " dbname=" + c.Database
	if c.Password != "" {
		pairs += " password='" + c.Password + "'"
	}
	return pairs
}

func TestDSNForms(t *testing.T) {
	dsn := pgtest.New(t)
	pairs := keyValue(t, dsn)
	services := filepath.Join(t.TempDir(), "services.conf")
	if err := os.WriteFile(services, []byte("[winery]\n"+strings.NewReplacer(" ", "\n", "'", "").Replace(pairs)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", services)
	for name, form := range map[string]string{
		"URL":          dsn,
		"pairs":        pairs,
		"service":      "service=winery",
		"libpq's keys": pairs + " keepalives=1 keepalives_idle=10 tcp_user_timeout=5000 gssencmode=disable fallback_application_name=x",
		"timeout":      pairs + " connect_timeout=3",
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, form)
			if _, err := b.Version(t.Context()); !errors.Is(err, sharedbase.ErrNotInitialised) {
				t.Errorf("asked for the version: %v", err)
			}
		})
	}
}

func TestApplicationName(t *testing.T) {
	dsn := pgtest.New(t)
	conn := connect(t, dsn)
	for form, want := range map[string]string{
		keyValue(t, dsn): "winery test",
		keyValue(t, dsn) + " application_name=special": "special",
	} {
		b := open(t, form)
		if _, err := b.Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := count(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1", want); n == 0 {
			t.Errorf("%d connections are named %q", n, want)
		}
		b.Close()
	}
}

func TestBadDSNShowsNoPassword(t *testing.T) {
	for _, dsn := range []string{
		"postgresql://user:geheim@host:port/db",
		"postgresql://user:ge heim%zz@host/db",
		"postgres://user:geheim@[::1/db",
		"host=a password=geheim port=x",
		"host=a password='geheim",
		"postgresql://host/db?password=geheim&connect_timeout=x",
		"postgresql://user:geheim@host/db?hostaddr=1.2.3.4",
		"service=nosuch password=geheim",
		"postgresql://user:geheim/db",
		"user:geheim host",
		"postgresql://user:ge@heim@host/db",
		"postgresql://user:12/geheim@host/db",
		"postgres://user:x@y/geheim@host:1/db?sslmode=disable",
		"geheim",
	} {
		_, err := sharedbase.New(dsn, "test")
		if err == nil || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "heim%zz") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	for dsn, part := range map[string]string{
		"host=a port=x": "port", "service=nosuch": "service", "host=a sslcrl=f": "sslcrl", "postgresql://u:p@h:x/db": "port",
		"postgresql://u:p%zz@h/db": "as %XX", "dbname": "key=value", "host=a sslmode=x": "verify-full", "host=a sslcert=/nosuch": "sslkey", "postgresql://u:p@x@h/db": "as %XX", "host=a,b port=1,2,3": "as many ports",
		"host=a connect_timeout=x": "connect_timeout", "host=a target_session_attrs=x": "target_session_attrs",
		"host=a channel_binding=x": "channel_binding", "host=a pool_max_conns=x": "pool_max_conns",
	} {
		if _, err := sharedbase.New(dsn, "test"); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v does not name %q", dsn, err, part)
		}
	}
}

// A description of a DSN names all servers, and no password.
func TestDescribeDSN(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgresql://u:geheim@h:5433/db":           "database db at h:5433 as user u",
		"host=a,b port=1,2 user=u password=geheim":  "database u at a:1, b:2 as user u",
		"host=/run/postgresql dbname=db user=u":     "database db at /run/postgresql:5432 as user u",
		"postgresql://u:g%40heim@h/a%40b":           "database a@b at h:5432 as user u",
		"postgresql://u@[::1]/db?sslmode=verify-ca": "database db at [::1]:5432 as user u",
	} {
		if got, err := sharedbase.DescribeDSN(dsn); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", dsn, got, err, want)
		}
	}
	if _, err := sharedbase.DescribeDSN("host=a port=x"); err == nil {
		t.Error("a wrong DSN was accepted")
	}
}

func TestUnavailable(t *testing.T) {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	free := listener.Addr().(*net.TCPAddr)
	_ = listener.Close()
	b := open(t, "postgresql://user:geheim@"+free.String()+"/db")
	ctx := t.Context()
	_, located := b.Locate(ctx, ids(object("x")))
	_, locked := b.LockWritingShard(ctx, "pool")
	_, inited := b.Init(ctx)
	_, counted := b.CountObjects(ctx, "x")
	_, listed := b.ListObjects(ctx, sharedbase.ObjID{}, 1)
	for _, err := range []error{located, locked, inited, counted, listed, b.Listen(ctx, nil), b.CheckVersion(ctx)} {
		if !errors.Is(err, sharedbase.ErrUnavailable) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("error %v, want ErrUnavailable", err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.Locate(ended, nil); !errors.Is(err, context.Canceled) || errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("with an ended context: %v", err)
	}
}

// A database or a user may disappear while a program runs, as in a restore: the program continues
// once it exists again.
func TestNoSuchDatabase(t *testing.T) {
	dsn := keyValue(t, pgtest.New(t))
	for wrong, says := range map[string]string{" dbname=nosuch": `"nosuch" does not exist`, " user=nosuch": `authentication failed for user "nosuch"`} {
		err := open(t, dsn+wrong).CheckVersion(t.Context())
		if !errors.Is(err, sharedbase.ErrUnavailable) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v", wrong, err)
		}
	}
}

func TestOutOfConnections(t *testing.T) {
	dsn := pgtest.New(t)
	conn := connect(t, dsn)
	name := must(pgconn.ParseConfig(dsn))(t).Database
	exec(t, conn, "CREATE ROLE "+name+" LOGIN PASSWORD '"+name+"' CONNECTION LIMIT 0")
	t.Cleanup(func() { exec(t, conn, "DROP ROLE "+name) })
	b := open(t, keyValue(t, dsn)+" user="+name+" password="+name)
	if err := b.CheckVersion(t.Context()); !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
}

// After a failover the old connections are to a server that only reads: an
// error once, then new connections.
func TestFailover(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	b.Close()
	name := must(pgconn.ParseConfig(conn.Config().ConnString()))(t).Database
	exec(t, conn, "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	b = open(t, conn.Config().ConnString())
	if _, err := b.LockWritingShard(ctx, "pool"); !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	exec(t, conn, "SET default_transaction_read_only = off")
	exec(t, conn, "ALTER DATABASE "+name+" RESET default_transaction_read_only")
	must(b.LockWritingShard(ctx, "pool"))(t)
}

// A restart of the server between two operations causes at most one error.
func TestConnectionsKilled(t *testing.T) {
	b, conn := newBase(t)
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	exec(t, conn, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	if _, err := b.Add(t.Context(), c, objects("a")); err != nil && !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	must(b.Add(t.Context(), c, objects("a")))(t)
	present(t, b, c.Name(), object("a"))
}

// Giving a shard back outlasts a restart of the server.
func TestReleaseOutlastsKills(t *testing.T) {
	b, conn := newBase(t)
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM shards FOR UPDATE")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	releasing := background(func() error { return c.Release(ended) })
	blocked(t, conn, 1)
	exec(t, conn, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
	blocked(t, conn, 1)
	exec(t, conn, "ROLLBACK")
	if err := <-releasing; err != nil {
		t.Error(err)
	}
	if s := must(b.ShardByID(t.Context(), c.ID()))(t); s.State != sharedbase.StateStandby {
		t.Errorf("the shard is %s", s.State)
	}
}
