// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"winery/internal/daemon"
	"winery/sharedbase"
	"winery/test/certtest"
	"winery/test/expect"
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

// A role prints all faults of its configuration, one a line, also those of the connection string.
func TestConfigurationFaults(t *testing.T) {
	file := configuration(t, "postgresql://u:hunter2@h:x/db")
	text, err := os.ReadFile(file)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(file, append(text, "  name: 1\nwinery: {writers: 65}\n"...), 0o600))
	p := launch(t, "database", "--config", file)
	p.end(78, file+":3: objstorage.database.db: the database's DSN has an invalid port",
		"\n"+file+":7: objstorage.name: found 1, must be a string\n", "\n"+file+":8: winery.writers: found 65, must be a whole number from 1 to 64\n")
	if strings.Contains(p.stderr.String(), "hunter2") {
		t.Error("shows the password")
	}
}

// A file of the connection string that cannot be read now, or a renewed certificate
// without its key yet, does not end a role for good.
func TestFilesOfDSN(t *testing.T) {
	dir := t.TempDir()
	certtest.New(t).Server(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	certtest.New(t).Server(filepath.Join(dir, "renewed.pem"), filepath.Join(dir, "renewed-key.pem"))
	const dsn = "host=127.0.0.1 port=1 dbname=winery sslmode=require "
	start(t, "database", dsn+"sslrootcert="+dir+"/absent.pem").end(1, "the database's DSN names a file that cannot be read: open "+dir+"/absent.pem")
	start(t, "database", dsn+"sslcert="+dir+"/renewed.pem sslkey="+dir+"/key.pem").end(1, "the database's DSN has an sslkey that is not the key of the sslcert: complete the renewal")
	start(t, "database", dsn+"sslcert="+dir+"/cert.pem").end(78, "has only one of sslcert and sslkey")
}

func TestExitStatus(t *testing.T) {
	for name, c := range map[string]struct {
		role   string
		args   []string
		status int
		stderr []string
	}{
		"done":          {"done", nil, 0, []string{"role=test", "level=WARN", "throttler: does nothing any more", "msg=ended"}},
		"done, in JSON": {"done", []string{"--log-format", "json"}, 0, []string{`"role":"test"`}},
		"failed":        {"fail", nil, 1, []string{"level=ERROR", `err="the database is unavailable"`}},
		"a command":     {"command", nil, 1, []string{`err="mapping: exit status 1"`}},
		"wrong at once": {"usage", nil, 78, []string{`--pool-name: no pool`}},
		"panic":         {"panic", nil, 1, []string{`err="internal error: bug"`}},
		"panic, debug":  {"panic", []string{"--log-level", "debug"}, 1, []string{"process_test.go"}},
		"unknown flag":  {"done", []string{"--wibble"}, 78, []string{"winery-test: unknown option --wibble; see --help"}},
		"argument":      {"done", []string{"shard"}, 78, []string{`winery-test: unexpected argument "shard"`}},
		"log level":     {"done", []string{"--log-level", "loud"}, 78, []string{`--log-level: found "loud", must be debug, info, warn or error`}},
		"no log level":  {"done", []string{"--log-level-file", "/"}, 0, []string{`level=WARN msg="log level is that of --log-level" err="--log-level-file: read /: is a directory"`}},
		"empty level":   {"done", []string{"--log-level-file", "/dev/null"}, 0, []string{`level=WARN msg="log level is that of --log-level" err="--log-level-file /dev/null: found \"\", must be debug, info, warn or error"`}},
		"wrong level":   {"done", []string{"--log-level-file", "/proc/self/comm", "--log-level", "debug"}, 0, []string{`level=WARN msg="log level is that of --log-level"`}},
		"wrong levels":  {"done", []string{"--log-level-file", "/dev/null", "--log-level", "loud"}, 78, []string{`--log-level: found "loud", must be debug, info, warn or error`}},
		"log format":    {"done", []string{"--log-format", "xml"}, 78, []string{`--log-format: found "xml", must be auto, text or json`}},
		"configuration": {"done", []string{"--config", "/nonexistent/w.yml"}, 78, []string{"winery-test: /nonexistent/w.yml: no such file: name the configuration by --config"}},
		"flag's value":  {"done", []string{"--stop-instead-of-waiting=maybe"}, 78, []string{"stop-instead-of-waiting"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, c.role, "dbname=winery", c.args...)
			p.end(c.status, c.stderr...)
			if strings.Contains(p.stderr.String(), "goroutine ") != (name == "panic, debug") {
				t.Errorf("stack trace?\n%s", p.stderr.String())
			}
			if strings.Count(p.stderr.String(), "database is unavailable") > 1 {
				t.Errorf("said twice:\n%s", p.stderr.String())
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	p := launch(t, "done", "--version")
	p.expect("winery-test version " + daemon.Version())
	p.end(0)

	cmd := exec.Command(os.Args[0], "--help")
	cmd.Env = append(os.Environ(), asRole+"=done")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"winery-test - serves tests", "--config FILE", "$WINERY_CONFIG, $SWH_CONFIG_FILENAME", "--log-level", "--stop-instead-of-waiting"} {
		if !bytes.Contains(out, []byte(part)) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
}

func TestSignals(t *testing.T) {
	t.Run("SIGTERM gives up", func(t *testing.T) {
		p := start(t, "work", "dbname=winery")
		p.expect("working")
		p.signal(syscall.SIGTERM)
		p.expect("finishing")
		p.expect("given up")
		p.end(0, `interrupted="packing: context canceled"`)
	})
	t.Run("SIGINT finishes", func(t *testing.T) {
		p := start(t, "work", "dbname=winery")
		p.expect("working")
		p.signal(syscall.SIGINT)
		p.expect("finishing")
		_ = p.stdin.Close()
		p.expect("finished")
		p.end(0, "msg=ended")
	})
	for _, second := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run("SIGINT and "+second.String(), func(t *testing.T) {
			p := start(t, "work", "dbname=winery")
			p.expect("working")
			p.signal(syscall.SIGINT)
			p.expect("finishing")
			p.signal(second)
			p.expect("given up")
			p.end(0)
		})
	}
	for status, last := range map[int]syscall.Signal{130: syscall.SIGINT, 143: syscall.SIGTERM} {
		t.Run("a hung step ends by "+last.String()+" after SIGTERM", func(t *testing.T) {
			p := start(t, "hung", "dbname=winery")
			p.expect("working")
			p.signal(syscall.SIGTERM)
			p.stderr.Wait(t, "aborting the current step")
			p.signal(last)
			p.end(status, "exiting at once")
		})
	}
	t.Run("SIGHUP changes nothing", func(t *testing.T) {
		p := start(t, "work", "dbname=winery")
		p.expect("working")
		p.signal(syscall.SIGHUP)
		p.stderr.Wait(t, "SIGHUP ignored")
		p.signal(syscall.SIGINT)
		p.expect("finishing")
		_ = p.stdin.Close()
		p.expect("finished")
		p.end(0)
	})
	t.Run("SIGHUP changes the log level", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "log-level")
		p := start(t, "reloading", "dbname=winery", "--log-level-file", file)
		p.expect("working")
		expect.NoError(t, os.WriteFile(file, []byte("debug\n"), 0o600))
		p.signal(syscall.SIGHUP)
		p.stderr.Wait(t, `what="log level"`)
		p.stderr.Wait(t, "level=DEBUG msg=reading")
		expect.NoError(t, os.WriteFile(file, []byte("loud\n"), 0o600))
		p.signal(syscall.SIGHUP)
		p.stderr.Wait(t, `msg="not reloaded: the role continues with what it had" role=test what="log level" err="--log-level-file `+file+`: found \"loud\", must be debug, info, warn or error`)
		p.signal(syscall.SIGHUP)
		expect.Eventually(t, "the level to be debug still", func() bool { return len(p.stderr.Lines("level=DEBUG msg=reading")) == 3 })
		p.signal(syscall.SIGTERM)
		p.end(0)
	})
	t.Run("SIGHUP reloads what it can", func(t *testing.T) {
		p := start(t, "reloading", "dbname=winery")
		p.expect("working")
		p.signal(syscall.SIGHUP)
		p.stderr.Wait(t, `level=ERROR msg="not reloaded: the role continues with what it had" role=test what="what fails"`)
		p.stderr.Wait(t, `level=INFO msg=reloaded role=test what="what works"`)
		p.signal(syscall.SIGTERM)
		p.end(0)
	})
	t.Run("a reload that hangs", func(t *testing.T) {
		p := start(t, "reload hangs", "dbname=winery")
		p.expect("working")
		p.signal(syscall.SIGHUP)
		p.expect("reading")
		p.signal(syscall.SIGTERM)
		p.end(0)
	})
	t.Run("a failure while giving up is one", func(t *testing.T) {
		p := start(t, "stuck", "dbname=winery")
		p.expect("working")
		p.signal(syscall.SIGTERM)
		p.end(1, "database is unavailable")
	})
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run("an idle role ends by "+s.String(), func(t *testing.T) {
			p := start(t, "idle", "dbname=winery", "--log-level", "debug")
			p.stderr.Wait(t, "nothing to do")
			p.signal(s)
			p.end(0)
		})
	}
}

// A role continues when the reader of its log has exited.
func TestClosedStderr(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	p := prepare(t, "work", "--config", configuration(t, "dbname=winery"))
	p.cmd.Stderr = writer
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	p.expect("working") // it has logged its start
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGINT)
	p.expect("finishing")
	_ = p.stdin.Close()
	p.expect("finished")
	p.end(0)
}

// Signals act also where the reader of the log hangs, and so each write to it: on a
// role, and on a command.
func TestBlockedStderr(t *testing.T) {
	for role, stops := range map[string][]string{"work": {"finishing", "given up"}, hungCommand: {"hung"}} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			reader, writer, err := os.Pipe()
			expect.NoError(t, err)
			defer reader.Close()
			defer writer.Close()
			p := prepare(t, role, "--config", configuration(t, "dbname=winery"))
			p.cmd.Stderr = writer
			expect.NoError(t, p.cmd.Start())
			p.expect("working") // it has logged its start
			fill(t, writer)
			p.signal(syscall.SIGTERM)
			for _, line := range stops {
				p.expect(line)
			}
			p.signal(syscall.SIGTERM)
			p.end(143)
		})
	}
}

// fill writes to a pipe until that has no room for another byte.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	// Opened again, because O_NONBLOCK would be the other writer's, too.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", pipe.Fd()), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	expect.NoError(t, err)
	defer unix.Close(fd)
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = unix.Write(fd, make([]byte, size))
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
	}
}

func TestFullStdout(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := exec.Command(os.Args[0], "--help")
	cmd.Env = append(os.Environ(), asRole+"=done")
	cmd.Stdout = full
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "the output is incomplete: write /dev/stdout: no space left on device") {
		t.Errorf("%v: %s", err, &stderr)
	}
}
