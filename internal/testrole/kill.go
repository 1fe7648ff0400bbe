// SPDX-License-Identifier: GPL-3.0-or-later

package testrole

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/config"
	"winery/internal/pools"
	"winery/sharedbase"
)

// Role makes the step of a role on a stage.
type Role func(*Stage) func(context.Context) (worked bool, err error)

// order is what a process of [Stage.KillAt] is told, in the environment.
type order struct {
	DSN    string
	Config config.Pool
	Point  Point
	Nth    int
}

const orderEnv = "WINERY_TESTROLE_ORDER"

// Main is TestMain for a role's tests: in a process of [Stage.KillAt] it takes
// the role's step, and otherwise it runs the tests and looks for goroutines
// that they left behind.
func Main(m *testing.M, role Role) {
	text := os.Getenv(orderEnv)
	if text == "" {
		goleak.VerifyTestMain(m)
		return
	}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.follow(role)
	}
	fmt.Fprintln(os.Stderr, "not killed:", err)
	os.Exit(1)
}

// follow takes a role's step and kills this process on the way.
func (o order) follow(role Role) error {
	base, err := sharedbase.New(o.DSN, "test to be killed")
	if err != nil {
		return err
	}
	set, err := pools.Open([]config.Pool{o.Config}, true)
	if err != nil {
		return err
	}
	passed := make(chan struct{}, o.Nth) // fills up: points may be passed concurrently
	p := &Hooked{Pool: set[o.Config.Name], At: func(point Point, _ string) error {
		if point != o.Point {
			return nil
		}
		passed <- struct{}{}
		if len(passed) == o.Nth {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // never runs on, until the signal arrives
		}
		return nil
	}}
	s := &Stage{
		DSN: o.DSN, Config: o.Config, Base: base, Pool: p, Pools: pools.Set{o.Config.Name: p},
		Log: slog.New(slog.DiscardHandler),
	}
	_, err = role(s)(context.Background())
	return err
}

// KillAt runs the step of this test binary's role in a process that is killed
// where its pool passes point for the nth time, 1 for the first.
func (s *Stage) KillAt(t testing.TB, point Point, nth int) {
	t.Helper()
	text, err := json.Marshal(order{s.DSN, s.Config, point, nth})
	Must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), orderEnv+"="+string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Fatalf("the process to be killed at %s ended by itself: %v\n%s", point, err, &out)
	}
}

// Release gives a dead process's shard back, as an operator does.
func (s *Stage) Release(t testing.TB, name string) {
	t.Helper()
	Must(t, s.Base.ReleaseShard(t.Context(), s.Shard(t, name)))
}
