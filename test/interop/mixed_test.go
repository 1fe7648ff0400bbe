// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"context"
	"math/rand/v2"
	"testing"

	"winery/internal/config"
	"winery/internal/httpapi/rpc/client"
	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/s3test"
)

// TestMixedFleet replaces the roles of a fleet one at a time by those of the
// other language, while objects are added and deleted.
func TestMixedFleet(t *testing.T) {
	// Python reads images on S3 by a library that does not see boto3_config.
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": s3test.Versity(t).Endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
		"AWS_ACCESS_KEY_ID": s3test.AccessKey, "AWS_SECRET_ACCESS_KEY": s3test.SecretKey,
	} {
		t.Setenv(name, value)
	}
	for _, pool := range []config.PoolType{config.Directory, config.Mosaic, config.MosaicS3} {
		t.Run(string(pool)+"/moving to Go", func(t *testing.T) { move(t, pool, sidePython, sideGo) })
		t.Run(string(pool)+"/moving back", func(t *testing.T) { move(t, pool, sideGo, sidePython) })
	}
}

func move(t *testing.T, pool config.PoolType, from, to side) {
	t.Parallel()
	m := newMixed(t, pool)
	for _, role := range []string{harness.Writer, harness.Packer, harness.Mapper, harness.Cleaner} {
		m.start(from, role)
	}
	m.round(nil)
	m.start(to, harness.Writer)
	m.round(nil)
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		m.start(to, role)
		m.round(func() {
			if role == harness.Cleaner && from == sideGo {
				m.until(m.noneDeleted)
			}
			m.stop(from, role)
		})
	}
	m.stop(from, harness.Writer)
	m.round(nil)
	m.finish(from, to)
}

// mixed is a fleet of both languages on one database and one pool.
type mixed struct {
	*testing.T
	*harness.Fleet
	ctx    context.Context
	failed func(error) // ends ctx
	next   func()      // begins another step, which has a time of its own
	dsn    string
	pool   config.PoolType

	working map[side]map[string]worker // those at work, by role
	ever    map[side]map[string]worker // the last of each role
	random  *rand.ChaCha8
	objects map[[32]byte][]byte // all that were added
	gone    map[[32]byte]bool   // those that were deleted
	given   map[side]int        // how many objects went to this side's writer alone
	both    int                 // and to both
	added   int                 // how many were new, by the writers' answers
}

func newMixed(t *testing.T, pool config.PoolType) *mixed {
	o := fleettest.Options(t)
	o.ShardMaxSize = shardMaxSize
	o.Mosaic = pool == config.Mosaic
	if pool == config.Directory {
		o.IndexPartitions = 5
	}
	if pool == config.MosaicS3 {
		var err error
		o.S3, err = s3test.Versity(t).Place(t.Context())
		expect.NoError(t, err)
	}
	within, next := fleettest.Steps(t)
	ctx, cancel := context.WithCancelCause(within)
	return &mixed{
		T: t, Fleet: fleettest.New(t, o), ctx: ctx, failed: cancel, next: next, dsn: o.DSN, pool: pool,
		working: map[side]map[string]worker{sidePython: {}, sideGo: {}},
		ever:    map[side]map[string]worker{sidePython: {}, sideGo: {}},
		random:  rand.NewChaCha8([32]byte{}),
		objects: map[[32]byte][]byte{}, gone: map[[32]byte]bool{}, given: map[side]int{},
	}
}

// must ends the test on an error, with what made the fleet fail if it did.
func (m *mixed) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%v (%v)", err, context.Cause(m.ctx))
	}
}

func (m *mixed) until(holds func() (bool, error)) {
	m.Helper()
	m.must(harness.Until(m.ctx, holds))
}

func (m *mixed) start(in side, role string) {
	m.Helper()
	m.next()
	var w worker
	var err error
	if in == sideGo {
		w, err = startGo(m.ctx, m.Fleet, role)
	} else {
		w, err = startPython(m.ctx, m.T, m.Fleet, role, m.failed)
	}
	m.must(err)
	m.working[in][role] = w
	m.ever[in][role] = w
}

func (m *mixed) stop(in side, role string) {
	m.Helper()
	m.must(m.working[in][role].stop())
	delete(m.working[in], role)
}

// writer is one at work.
type writer struct {
	side
	*client.Client
}

func (m *mixed) writers() (all []writer) {
	for _, l := range []side{sidePython, sideGo} {
		if w, ok := m.working[l][harness.Writer]; ok {
			all = append(all, writer{l, w.client})
		}
	}
	return all
}

// finish waits until all work is done, ends all roles, and checks the result.
func (m *mixed) finish(from, to side) {
	m.Helper()
	m.next()
	m.must(m.WaitReadOnly(m.ctx))
	m.erased()
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		m.stop(to, role)
	}
	m.start(from, harness.Writer)
	m.readAll()
	for _, w := range m.writers() {
		m.stop(w.side, harness.Writer)
	}
	shards := m.inspect()
	if m.added != len(m.objects) {
		m.Errorf("the writers say that %d objects were new to them, of %d", m.added, len(m.objects))
	}
	for what, role := range map[string]string{"packed": harness.Packer, "dropped the tables of": harness.Cleaner} {
		byPython, byGo := did(m.T, m.ever[sidePython][role]), did(m.T, m.ever[sideGo][role])
		m.Logf("%s %d shards in Python, %d in Go", what, byPython, byGo)
		if byPython == 0 || byGo == 0 {
			m.Error("each should have had a part of the work")
		}
	}
	direction := map[side]string{sideGo: "moving to Go", sidePython: "moving back"}[to]
	paired(m.T, "mixed fleet on %s, %s: %d objects by Python, %d by Go, %d by both, %d shards, %d deleted: each there once, read by both",
		m.pool, direction, m.given[sidePython], m.given[sideGo], m.both, shards, len(m.gone))
}
