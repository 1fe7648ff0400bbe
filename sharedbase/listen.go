// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel carries a message "name state" for each transition, sent in the
// transition's own transaction: it arrives after the commit, or never.
const channel = "winery_shards"

// notify is the expression that sends it: the last column of a RETURNING of the row "s" of shards. The value is
// not used.
const notify = "pg_notify('" + channel + "', s.name::text || ' ' || s.state::text)"

// Listen calls wake for every transition of a shard, and whenever a host recorded
// a mapping, until ctx ends or the connection fails; it always returns an error:
// ErrPooled behind a pooler, where no message would come. It has its own
// connection. Messages may be missing (between two calls, or from Python's
// roles): poll as well. When listening has begun, Listen calls wake with an empty
// name, so that no change between the caller's last query and the first message
// is missed. wake is called in the goroutine of Listen, and must not block.
func (b *SharedBase) Listen(ctx context.Context, wake func(shard string, state ShardState)) error {
	err := b.listen(ctx, wake)
	return b.explain(ctx, "listening for changes of shards", err)
}

// stayIdle prevents the server from ending an idle session, by a setting that is new in PostgreSQL 14.
const stayIdle = `/* winery: DisableIdleTimeout */
	SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'`

func (b *SharedBase) listen(ctx context.Context, wake func(string, ShardState)) error {
	cfg := b.connect.Copy()
	if err := b.pooler.prepare(ctx, cfg, nil); err != nil {
		return err
	}
	if b.pooler.found.Load() {
		return ErrPooled
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	for _, sql := range []string{stayIdle, "/* winery: Listen */ LISTEN " + channel} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	wake("", stateNone)
	for {
		message, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		name, state, _ := strings.Cut(message.Payload, " ")
		wake(name, ShardState(state))
	}
}
