// SPDX-License-Identifier: GPL-3.0-or-later

// Package fleettest gives each test a fleet of real processes with a database
// of its own. The programs are those in bin/ (make build).
package fleettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"winery/test/harness"
	"winery/test/pgtest"
)

// Options are those of a fleet with a folder and an empty database of its own,
// and its images in a directory pool. ShardMaxSize is the caller's to set.
func Options(t *testing.T) harness.Options {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	dir, err := filepath.Abs(filepath.Join(filepath.Dir(file), "..", "..", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, harness.Writer)); err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return harness.Options{Dir: t.TempDir(), Bin: dir, DSN: pgtest.New(t)}
}

// New makes a fleet that is closed before its database goes. If the test
// fails, it shows what the daemons complained of.
func New(t *testing.T, o harness.Options) *harness.Fleet {
	t.Helper()
	f, err := harness.New(t.Context(), o)
	return closing(t, f, o, err)
}

// Configured is New for a fleet whose database and pool exist already.
func Configured(t *testing.T, o harness.Options) *harness.Fleet {
	t.Helper()
	f, err := harness.Configure(t.Context(), o)
	return closing(t, f, o, err)
}

func closing(t *testing.T, f *harness.Fleet, o harness.Options, err error) *harness.Fleet {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(f.Close(), f.RemoveUsers(context.Background())); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			showLogs(t, o.Dir)
		}
	})
	return f
}

// showLogs prints what the daemons had to say other than that all is well.
func showLogs(t *testing.T, dir string) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, path := range logs {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		for line := range bytes.Lines(log) {
			if !bytes.Contains(line, []byte(`"level":"INFO"`)) {
				t.Logf("%s: %s", filepath.Base(path), line)
			}
		}
	}
}

// RunToEnd runs a role until there is nothing left to do for it.
func RunToEnd(ctx context.Context, t *testing.T, f *harness.Fleet, role string) {
	t.Helper()
	p, err := f.Start(role, "--stop-instead-of-waiting")
	if err != nil {
		t.Fatal(err)
	}
	if err := Ended(ctx, t, p); err != nil {
		t.Fatal(err)
	}
}

// Ended waits for the end of a process, and returns how it ended. It fails the test if
// ctx ends before.
func Ended(ctx context.Context, t *testing.T, p *harness.Process) error {
	t.Helper()
	select {
	case <-p.Done():
		return p.Err()
	case <-ctx.Done():
		t.Fatalf("%s has not ended: %v", p.Name, ctx.Err())
		return nil
	}
}

// hangs is how long a test of a fleet may take: one that takes longer hangs, however
// busy the machine is.
const hangs = 8 * time.Minute

// Steps is [Within] for a test of several steps: the limit begins again with each call of next.
func Steps(t *testing.T) (ctx context.Context, next func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(hangs, func() { cancel(fmt.Errorf("a step took more than %v", hangs)) })
	t.Cleanup(func() { timer.Stop(); cancel(nil) })
	return ctx, func() { timer.Reset(hangs) }
}

// Within gives the test's context with an end, so that a test that hangs says where.
func Within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	t.Cleanup(cancel)
	return ctx
}
