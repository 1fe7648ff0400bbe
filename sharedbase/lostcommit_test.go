// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"winery/sharedbase"
	"winery/test/expect"
)

// proxy is a proxy between a SharedBase and the server.
type proxy struct {
	listener net.Listener
	server   string
	lose     atomic.Pointer[string] // the answer to a message with this text is lost, once, and the connection with it
	before   atomic.Pointer[func()] // called before a commit reaches the server
	running  sync.WaitGroup
}

// throughProxy opens the database of dsn through a proxy.
func throughProxy(t testing.TB, dsn string) (*sharedbase.SharedBase, *proxy) {
	t.Helper()
	c := must(pgconn.ParseConfig(dsn))(t)
	p := &proxy{listener: must(net.Listen("tcp", "127.0.0.1:0"))(t), server: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))}
	p.running.Go(func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() { _ = p.listener.Close(); p.running.Wait() })
	port := p.listener.Addr().(*net.TCPAddr).Port
	return open(t, keyValue(t, dsn)+" host=127.0.0.1 sslmode=disable port="+strconv.Itoa(port)), p
}

func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var deaf atomic.Bool // the next answer goes nowhere
	p.running.Go(func() {
		defer func() { _ = client.Close() }()
		for buffer := make([]byte, 1<<16); ; {
			n, err := server.Read(buffer)
			if err != nil || deaf.Load() {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	for buffer := make([]byte, 1<<16); ; {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if text := p.lose.Load(); text != nil && bytes.Contains(buffer[:n], []byte(*text)) && p.lose.CompareAndSwap(text, nil) {
			deaf.Store(true)
			_, _ = server.Write(buffer[:n])
			_, _ = io.Copy(io.Discard, client) // until the answer was lost
			return
		}
		if before := p.before.Load(); before != nil && bytes.Contains(buffer[:n], []byte("commit\x00")) {
			(*before)()
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) loseAnswerTo(text string) { p.lose.Store(&text) }

// A commit whose answer is lost leaves no shard locked without a holder, and a
// retry has a certain result.
func TestLostAnswers(t *testing.T) {
	direct, conn := newBase(t)
	ctx := t.Context()
	b, p := throughProxy(t, conn.Config().ConnString())
	unavailable := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, sharedbase.ErrUnavailable) {
			t.Errorf("%s: error %v, want ErrUnavailable", what, err)
		}
		if p.lose.Load() != nil {
			t.Fatalf("%s: the answer was not lost", what)
		}
	}
	state := func(want sharedbase.ShardState) {
		t.Helper()
		all := must(direct.ListShards(ctx, sharedbase.ShardFilter{}))(t)
		if len(all) != 1 || all[0].State != want {
			t.Errorf("the shards are %+v, want one that is %s", all, want)
		}
	}

	p.loseAnswerTo("commit\x00")
	_, err := b.CreateShard(ctx, "pool")
	unavailable("creating", err)
	state(standby)

	p.loseAnswerTo("commit\x00")
	_, err = b.LockWritingShard(ctx, "pool")
	unavailable("locking", err)
	state(standby)

	c := must(b.LockWritingShard(ctx, "pool"))(t)
	p.loseAnswerTo("content of the object")
	_, err = b.Add(ctx, c, objects("content of the object"))
	unavailable("adding", err)
	expect.Eventually(t, "the commit", func() bool { return count(t, conn, "SELECT count(*) FROM signature2shard") == 1 })
	if added := must(b.Add(ctx, c, objects("content of the object")))(t); added.Objects != 0 {
		t.Errorf("added again: %+v", added)
	}
	present(t, b, c.Name(), object("content of the object"))

	p.loseAnswerTo("commit\x00")
	unavailable("moving on", c.SetState(ctx, full))
	wantState(t, c.SetState(ctx, full), full)

	c = must(b.LockOneShard(ctx, full, packing, sharedbase.ClaimFilter{}))(t)
	p.loseAnswerTo("commit\x00")
	if err := c.Release(ctx); err != nil || p.lose.Load() != nil {
		t.Errorf("releasing: %v", err)
	}
	state(full)
}

// Dropping a table whose first attempt was committed without an answer succeeds.
func TestDropTableWhoseAnswerIsLost(t *testing.T) {
	direct, conn := newBase(t)
	ctx := t.Context()
	s := shardIn(t, direct, sharedbase.StatePacked, objects("a")...)
	b, p := throughProxy(t, conn.Config().ConnString())
	c := claim(t, b, s, sharedbase.StateCleaning)
	p.loseAnswerTo("commit")
	if err := c.DropTable(ctx); err != nil || p.lose.Load() != nil {
		t.Errorf("dropping: %v", err)
	}
	if got := must(direct.ShardByID(ctx, s.ID))(t); got.State != sharedbase.StateReadOnly || c.State() != sharedbase.StateReadOnly {
		t.Errorf("the shard is %s, the claim %s", got.State, c.State())
	}
}

// A process that is stopped during a commit waits for the commit, and leaves nothing
// claimed.
func TestStopDuringCommit(t *testing.T) {
	direct, conn := newBase(t)
	packed := shardIn(t, direct, sharedbase.StatePacked)
	b, p := throughProxy(t, conn.Config().ConnString())
	for name, work := range map[string]func(ctx context.Context) error{
		"an image": func(ctx context.Context) error {
			return b.WithImage(ctx, packed.Name, func(ctx context.Context, _ *sharedbase.ImageClaim) error { return ctx.Err() })
		},
		"a shard": func(ctx context.Context) error {
			_, err := b.WithOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.ClaimFilter{},
				func(ctx context.Context, _ *sharedbase.Claim) error { return ctx.Err() })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			before := func() { stop() }
			p.before.Store(&before)
			if err := work(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if ctx.Err() == nil {
				t.Fatal("there was no commit")
			}
			if n := count(t, conn, "SELECT count(*) FROM winery_image_lease"); n != 0 {
				t.Errorf("%d claims to images are left", n)
			}
			if got := must(direct.ShardByID(t.Context(), packed.ID))(t); got.State != sharedbase.StatePacked {
				t.Errorf("the shard is %s", got.State)
			}
		})
	}
}
