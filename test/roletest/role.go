// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/internal/config"
	"winery/internal/storage"
	"winery/sharedbase"
	"winery/test/s3test"
)

// Role makes the step of a role on a stage.
type Role func(*Stage) func(context.Context) (worked bool, err error)

// Lease is that of the claims of processes that [Stage.Start] starts.
const Lease = 6 * time.Second

// order is the order to such a process, in the environment.
type order struct {
	DSN    string
	Config config.Pool
	Role   string
	Image  string // Stage.Imported
	Halt   Halt
}

const orderEnv = "WINERY_TESTROLE_ORDER"

// Main is TestMain for the tests of roles: in a process of [Stage.Start] it runs
// a step of the ordered role, and otherwise it runs the tests and checks for
// leaked goroutines.
func Main(m *testing.M, roles map[string]Role) {
	text := os.Getenv(orderEnv)
	if text == "" {
		goleak.VerifyTestMain(s3test.Tests{M: m})
		return
	}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.follow(roles[o.Role])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// follow runs a role's step. It reports each point that it passes, and halts at
// the ordered one.
func (o order) follow(role Role) error {
	w := &way{halt: o.Halt, passed: map[Point]int{}, goOn: make(chan os.Signal, 1)}
	signal.Notify(w.goOn, syscall.SIGCONT)
	base, err := sharedbase.New(o.DSN, "test process", sharedbase.WithLease(Lease), sharedbase.WithObserver(w.statement))
	if err != nil {
		return err
	}
	set, err := storage.Open([]config.Pool{o.Config}, true)
	if err != nil {
		return err
	}
	p := &Hooked{Pool: set[o.Config.Name], At: func(point Point, _ string) error {
		w.pass(point)
		return nil
	}}
	s := &Stage{
		DSN: o.DSN, Config: o.Config, Base: base, Pool: p, Pools: storage.Set{o.Config.Name: p},
		Log: slog.New(slog.DiscardHandler), Imported: o.Image,
	}
	_, err = role(s)(context.Background())
	return err
}

// way is what a process has passed. Points may be passed concurrently.
type way struct {
	halt   Halt
	goOn   chan os.Signal
	mu     sync.Mutex
	passed map[Point]int
}

func (w *way) statement(s sharedbase.Statement) {
	switch op := pointOf(s); {
	case op == "":
	case !s.Done:
		w.pass(op)
	case s.Err == nil:
		w.pass(After(op))
	}
}

func (w *way) pass(p Point) {
	w.mu.Lock()
	w.passed[p]++
	here := p == w.halt.Point && w.passed[p] == w.halt.Nth
	fmt.Println(passing + p)
	w.mu.Unlock()
	if !here {
		return
	}
	Tell(halted)
	_ = syscall.Kill(os.Getpid(), w.halt.Signal)
	<-w.goOn // nothing more of this goroutine until the signal arrives, or is taken back
}
