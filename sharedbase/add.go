// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"
)

// Object is an object to be added. The caller guarantees that ID is the SHA-256
// of Content.
type Object struct {
	ID      ObjID
	Content []byte
}

// Added says what Add added.
type Added struct {
	New     []bool // for each object given, in the same order: it was new
	Objects int    // how many were
	Bytes   int64  // the sum of their contents' sizes
}

// Add stores objects in the shard of a claim that is writing. When it returns nil
// every object given is stored durably, in this shard or in the one that had it
// already; on an error none was stored, except that after ErrUnavailable all or
// none were: adding again is safe. An object given twice counts once. The
// contents must be less than 1 GiB together, and are in the server's memory
// several times. *StateError means that the claim is lost.
//
// ErrContended says that nothing was stored because another transaction has
// locked the row of one of the objects, or has added one of them and is not
// committed, for longer than a second. The claim still holds. To add the other
// objects, add fewer at once. The same is true of all errors that Refused tells: what
// the server has of one of the objects is damaged, for example.
//
// All is one statement, so that no lock ever waits for this process. An object
// that the index has present is found by a plain read: no row of it is locked,
// and nothing written for it. The statement locks the shard's row FOR SHARE. The
// lock keeps the shard in its state until the commit; and as it is a write, the
// commit of a call that added nothing waits for a synchronous standby like any
// other: the call may acknowledge an object of another commit that the standby
// does not have yet.
func (b *SharedBase) Add(ctx context.Context, c *Claim, objects []Object) (Added, error) {
	return b.add(ctx, c, objects, b.lockWait)
}

// TryAdd is Add for objects of which some are probably locked: it waits a
// twentieth of a second before it returns ErrContended.
func (b *SharedBase) TryAdd(ctx context.Context, c *Claim, objects []Object) (Added, error) {
	return b.add(ctx, c, objects, b.lockWait/20)
}

// defaultLockWait is how long Add and Delete wait for a lock: longer than a commit takes,
// but short enough not to delay the rest of a group, or other deletions, noticeably.
const defaultLockWait = time.Second

func (b *SharedBase) add(ctx context.Context, c *Claim, objects []Object, wait time.Duration) (Added, error) {
	added := Added{New: make([]bool, len(objects))}
	order := byID(objects)
	keys, contents := make([][]byte, len(order)), make([][]byte, len(order))
	var size int64
	for i, at := range order {
		keys[i], contents[i] = objects[at].ID[:], nonNil(objects[at].Content)
		size += int64(len(contents[i]))
	}
	what := fmt.Sprintf("adding %d objects to shard %s", len(objects), c.name)
	err := b.withTimeout(ctx, shortTimeout+perMiB*time.Duration(size>>20), what, func(ctx context.Context) error {
		var held bool
		var taken [][]byte
		var err error
		if len(order) == 1 && size >= largeSize {
			held, taken, err = b.addLarge(ctx, c, keys[0], contents[0], wait)
		} else {
			err = b.conns.adds.QueryRow(ctx, addStatement(c.name), c.id, c.locker, keys, contents, wait.Milliseconds()).Scan(&held, &taken)
		}
		if err != nil {
			return err
		}
		if !held {
			return notHeld(ctx, b.conns.adds, c.name, c.locker, StateWriting)
		}
		added.count(objects, order, taken)
		return nil
	})
	if isLockTimeout(err) {
		err = fmt.Errorf("%w: %w", ErrContended, err)
	}
	return added, err
}

// perMiB is the time that Add has for each MiB, besides that of any operation.
const perMiB = time.Second

// addStatement makes the statement for a shard's table. Its first part limits
// the wait for each lock that follows. The keys that were taken are looked up in
// a hash while the contents stream past them: the IS TRUE keeps the planner from
// a join, which would put the contents into a hash, and that on the server's
// disk.
func addStatement(shard string) string {
	return "/* winery: Add */" + addFrom(shard, "unnest($3::bytea[]) key", "(SELECT unnest($3::bytea[]) AS key, unnest($4::bytea[]) AS content) given")
}

// addFrom is the rest of a statement whose keys and contents are from these subqueries.
func addFrom(shard, keys, given string) string {
	return `
		WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', $5::bigint::text, true)),
		claim AS (
			SELECT id FROM patience CROSS JOIN shards s
			WHERE id = $1 AND locker = $2 AND state = 'writing' FOR SHARE OF s),
		wanted AS (
			SELECT key FROM ` + keys + ` LEFT JOIN LATERAL (
				SELECT true AS present FROM signature2shard WHERE signature = key AND state = 'present' LIMIT 1) o ON true
			WHERE o.present IS NULL),
		taken AS (
			INSERT INTO signature2shard AS o (signature, shard, state)
			SELECT key, claim.id, 'present' FROM claim CROSS JOIN wanted ORDER BY key
			ON CONFLICT (signature) DO UPDATE SET shard = excluded.shard, state = 'present' WHERE o.state <> 'present'
			RETURNING signature),
		stored AS (
			INSERT INTO ` + quoteTable(shard) + ` AS t (key, content)
			SELECT given.key, given.content FROM ` + given + `
			WHERE (given.key IN (SELECT signature FROM taken)) IS TRUE
			ON CONFLICT (key) DO UPDATE SET content = excluded.content)
		SELECT EXISTS (SELECT FROM claim), ARRAY (SELECT signature FROM taken)`
}

// byID returns the positions of the objects in the order of their ids, in which
// all processes insert, so that no two wait for each other; of equal ids only the
// first.
func byID(objects []Object) []int {
	order := make([]int, len(objects))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return bytes.Compare(objects[x].ID[:], objects[y].ID[:]) })
	return slices.CompactFunc(order, func(x, y int) bool { return objects[x].ID == objects[y].ID })
}

func (a *Added) count(objects []Object, order []int, taken [][]byte) {
	isNew := make(map[ObjID]bool, len(taken))
	for _, key := range taken {
		isNew[ObjID(key)] = true
	}
	for _, at := range order {
		if o := objects[at]; isNew[o.ID] {
			a.New[at] = true
			a.Objects++
			a.Bytes += int64(len(o.Content))
		}
	}
}

// nonNil keeps an empty content from becoming NULL.
func nonNil(content []byte) []byte {
	if content == nil {
		return []byte{}
	}
	return content
}
