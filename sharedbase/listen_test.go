// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"winery/sharedbase"
)

type message struct {
	shard string
	state sharedbase.ShardState
}

// listen returns the messages that arrive, and what Listen returns. The first
// message, that it listens, has been taken.
func listen(t testing.TB, ctx context.Context, b *sharedbase.SharedBase) (<-chan message, <-chan error) {
	t.Helper()
	messages := make(chan message, 100)
	ended := background(func() error {
		return b.Listen(ctx, func(shard string, state sharedbase.ShardState) { messages <- message{shard, state} })
	})
	wantMessage(t, messages, message{})
	return messages, ended
}

func wantMessage(t testing.TB, messages <-chan message, want message) {
	t.Helper()
	select {
	case got := <-messages:
		if got != want {
			t.Errorf("message %v, want %v", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("message %v did not come", want)
	}
}

// Each transition sends a notification, in order, once it is committed.
func TestListen(t *testing.T) {
	b, _ := newBase(t)
	ctx, cancel := context.WithCancel(t.Context())
	messages, ended := listen(t, ctx, b)
	s := shardIn(t, b, sharedbase.StatePacked)
	for _, state := range []sharedbase.ShardState{sharedbase.StateWriting, sharedbase.StateFull, sharedbase.StatePacking, sharedbase.StatePacked} {
		wantMessage(t, messages, message{s.Name, state})
	}
	must(b.RecordShardMapped(ctx, "host", s.Pool, s.Name))(t)
	wantMessage(t, messages, message{s.Name, sharedbase.StatePacked})
	must(b.RecordShardMapped(ctx, "host", s.Pool, s.Name))(t) // nothing new to tell
	c := claim(t, b, s, sharedbase.StateCleaning)
	wantMessage(t, messages, message{s.Name, sharedbase.StateCleaning})
	if err := c.Release(ctx); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, messages, message{s.Name, sharedbase.StatePacked})
	c = claim(t, b, s, sharedbase.StateCleaning)
	wantMessage(t, messages, message{s.Name, sharedbase.StateCleaning})
	if err := c.DropTable(ctx); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, messages, message{s.Name, sharedbase.StateReadOnly})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestListenConnectionKilled(t *testing.T) {
	b, conn := newBase(t)
	_, ended := listen(t, t.Context(), b)
	exec(t, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '/* winery: Listen */%'")
	if err := <-ended; !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("ended with %v, want ErrUnavailable", err)
	}
}
