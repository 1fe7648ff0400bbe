// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	"go.uber.org/goleak"

	"winery/internal/daemon"
	"winery/sharedbase"
	"winery/test/logtest"
)

// asRole, in the environment, makes the test binary a role of that name.
const asRole = "WINERY_TEST_AS_ROLE"

// hungCommand, as a role's name, is a command that hangs once it should stop.
const hungCommand = "a command that hangs"

func TestMain(m *testing.M) {
	if os.Getenv(asRole) == hungCommand {
		ctx, _ := daemon.UntilSignal(os.Stderr)
		fmt.Println("working")
		<-ctx.Done()
		fmt.Println("hung")
		select {}
	}
	if run := roles[os.Getenv(asRole)]; run != nil {
		daemon.Run("winery-test", "serves tests", []cli.Flag{daemon.StopFlag}, run)
	}
	goleak.VerifyTestMain(m)
}

// roles are what the processes under test do.
var roles = map[string]func(context.Context, *daemon.Env) error{
	"done":  func(context.Context, *daemon.Env) error { return nil },
	"fail":  func(context.Context, *daemon.Env) error { return errUnavailable },
	"usage": func(context.Context, *daemon.Env) error { return daemon.UsageError("--pool-name: no pool %q", "x") },
	"command": func(context.Context, *daemon.Env) error {
		return fmt.Errorf("mapping: %w", exec.Command("false").Run())
	},
	"panic": func(context.Context, *daemon.Env) error { panic("bug") },
	"notify": func(_ context.Context, env *daemon.Env) error {
		for range 1000 {
			env.Notify.Progress()
		}
		env.Notify.Ready()
		env.Notify.Ready()
		env.Notify.Status("packing: %d %%", 41)
		return errors.Join(errUnavailable, fmt.Errorf("%s", "\n\tREADY=1\n"))
	},
	// Two parts, of which the first ends its step once the second has taken one.
	"parts": func(ctx context.Context, env *daemon.Env) error {
		base, err := env.OpenDatabase(ctx)
		if err != nil {
			return err
		}
		second := make(chan struct{})
		return env.Loops(ctx, base,
			daemon.Part{Notify: env.Notify.Part("first"), Step: func(context.Context) (bool, error) { <-second; return false, nil }},
			daemon.Part{Notify: env.Notify.Part("second"), Step: func(context.Context) (bool, error) { close(second); return false, nil }})
	},
	// A step that works until it receives a signal to end, or its context ends.
	"work": func(ctx context.Context, env *daemon.Env) error {
		options := daemon.LoopOptions{Log: env.Log, Notify: env.Notify, Finish: env.Finishing.Done()}
		return daemon.Loop(ctx, options, func(ctx context.Context) (bool, error) {
			fmt.Println("working")
			told := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				close(told)
			}()
			<-env.Finishing.Done()
			fmt.Println("finishing")
			select {
			case <-told:
				fmt.Println("finished")
				return true, nil
			case <-ctx.Done():
				fmt.Println("given up")
				return false, fmt.Errorf("packing: %w", ctx.Err())
			}
		})
	},
	// The same, with a shard that cannot be released.
	"stuck": func(ctx context.Context, _ *daemon.Env) error {
		fmt.Println("working")
		<-ctx.Done()
		return errUnavailable
	},
	// A call that hears of no context.
	"hung": func(context.Context, *daemon.Env) error {
		fmt.Println("working")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	},
	// A step that makes no progress until the process exits.
	"stalled": func(ctx context.Context, env *daemon.Env) error {
		return daemon.Loop(ctx, daemon.LoopOptions{Log: env.Log, Notify: env.Notify}, func(ctx context.Context) (bool, error) {
			fmt.Println("working")
			<-ctx.Done()
			return false, ctx.Err()
		})
	},
	"reloading": func(ctx context.Context, env *daemon.Env) error {
		env.OnReload("what fails", func() error { return errUnavailable })
		env.OnReload("what works", func() error { env.Log.Debug("reading"); return nil })
		fmt.Println("working")
		<-env.Finishing.Done()
		return nil
	},
	"reload hangs": func(_ context.Context, env *daemon.Env) error {
		env.OnReload("what hangs", func() error {
			fmt.Println("reading")
			select {}
		})
		fmt.Println("working")
		<-env.Finishing.Done()
		return nil
	},
	"idle": func(ctx context.Context, env *daemon.Env) error {
		options := daemon.LoopOptions{Log: env.Log, Notify: env.Notify, Finish: env.Finishing.Done()}
		return daemon.Loop(ctx, options, func(context.Context) (bool, error) { return false, nil })
	},
	"broken": func(ctx context.Context, env *daemon.Env) error {
		base, err := env.OpenDatabase(ctx)
		for recorded := 0; err == nil && recorded == 0; { // the last heartbeat does not wait for the row of the first
			var all []sharedbase.Process
			all, err = base.Processes(ctx)
			recorded = len(all)
			time.Sleep(time.Millisecond)
		}
		return errors.Join(err, errUnavailable)
	},
	"database": func(ctx context.Context, env *daemon.Env) error {
		base, err := env.OpenDatabase(ctx)
		if err != nil {
			return err
		}
		fmt.Println("open")
		return env.Loops(ctx, base, daemon.Part{Notify: env.Notify, Step: func(context.Context) (bool, error) { return false, nil }, WaitsFor: "work"})
	},
	"pools": func(ctx context.Context, env *daemon.Env) error {
		base, err := env.OpenDatabase(ctx)
		if err != nil {
			return err
		}
		set, err := env.OpenPools(ctx, base)
		if err != nil {
			return err
		}
		env.Notify.Ready()
		fmt.Println("open")
		<-env.Finishing.Done()
		return set.Close()
	},
}

// process is a role under test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Scanner
	stderr logtest.Log
}

// start begins a role with a valid configuration for dsn.
func start(t *testing.T, role, dsn string, args ...string) *process {
	t.Helper()
	return launch(t, role, append([]string{"--config", configuration(t, dsn)}, args...)...)
}

func configuration(t *testing.T, dsn string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "winery.yml")
	yaml := fmt.Sprintf(`objstorage:
  cls: winery
  database: {db: %q}
  shards_pools: [{type: directory, base_directory: /nonexistent, shard_max_size: 1000}]
  shards_active_pool: shards
  throttler: {}
`, dsn)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func launch(t *testing.T, role string, args ...string) *process {
	t.Helper()
	p := prepare(t, role, args...)
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// prepare is launch without the start, and without stderr.
func prepare(t *testing.T, role string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	p := &process{t: t, cmd: exec.CommandContext(ctx, os.Args[0], args...)}
	// The race detector would sleep for a second at each exit.
	p.cmd.Env = append(os.Environ(), asRole+"="+role, "GORACE=atexit_sleep_ms=0")
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewScanner(stdout)
	return p
}

// expect waits for a line on stdout.
func (p *process) expect(line string) {
	p.t.Helper()
	if !p.stdout.Scan() || p.stdout.Text() != line {
		p.t.Fatalf("got %q, want %q; stderr:\n%s", p.stdout.Text(), line, p.stderr.String())
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the process and checks its exit status and stderr.
func (p *process) end(status int, stderr ...string) {
	p.t.Helper()
	for p.stdout.Scan() {
		p.t.Errorf("unexpected output: %s", p.stdout.Text())
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Errorf("exit status %d, want %d", got, status)
	}
	for _, part := range stderr {
		if !strings.Contains(p.stderr.String(), part) {
			p.t.Errorf("no %q on stderr:\n%s", part, p.stderr.String())
		}
	}
}
