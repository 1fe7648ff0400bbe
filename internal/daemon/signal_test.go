// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"winery/test/expect"
)

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
