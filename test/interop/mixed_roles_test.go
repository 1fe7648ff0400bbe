// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"winery/internal/httpapi/rpc/client"
	"winery/test/harness"
)

// side is the language of a role.
type side string

const (
	sidePython side = "Python"
	sideGo     side = "Go"
)

// pythonRoles are the arguments of Python that run a role. The writer is that
// of production, two processes behind one address.
func pythonRoles(config string) map[string][]string {
	const script = "testdata/mixed_role.py"
	return map[string][]string{
		harness.Writer: {"-m", "gunicorn", "--config", "python:swh.objstorage.backends.winery.gunicorn",
			"--bind", "127.0.0.1:0", "--workers", "2", "--timeout", "600", "--no-control-socket",
			"swh.objstorage.api.server:make_app_from_configfile()"},
		harness.Packer:  {script, config, "packer"},
		harness.Mapper:  {script, config, "mapper"},
		harness.Cleaner: {script, config, "cleaner"},
	}
}

// cleanDeleted runs Python's command that erases deleted objects.
func cleanDeleted(ctx context.Context, t *testing.T, f *harness.Fleet) {
	t.Helper()
	python(ctx, t, "testdata/mixed_role.py", f.File, "clean-deleted")
}

// worker is a process of a role, of either language.
type worker struct {
	client *client.Client // of a writer
	log    string         // a file's path
	stop   func() error   // by SIGTERM; waits; an error unless all was well until then
}

// startGo starts a role of Go Winery.
func startGo(ctx context.Context, f *harness.Fleet, role string) (worker, error) {
	start := func() (*harness.Process, error) { return f.Start(role) }
	if role == harness.Writer {
		start = func() (*harness.Process, error) { return f.StartWriter(ctx) }
	}
	p, err := start()
	if err != nil {
		return worker{}, err
	}
	return worker{client: f.Client, log: p.Log, stop: p.Stop}, nil
}

// ready is what Python's roles log when they are at work.
var ready = regexp.MustCompile(`at work|Listening at: (http://\S+)`)

// startPython starts a role of Python's and waits until it is at work. failed
// is called if it ends before it is stopped.
func startPython(ctx context.Context, t *testing.T, f *harness.Fleet, role string, failed func(error)) (worker, error) {
	interpreter := os.Getenv("WINERY_PYTHON")
	if interpreter == "" {
		t.Fatal("WINERY_PYTHON must name a Python with the packages of scripts/python-venv: `make interop` and `make test` set it")
	}
	log, err := os.CreateTemp(filepath.Dir(f.File), "python-"+role+"-*.log")
	if err != nil {
		return worker{}, err
	}
	defer log.Close()
	cmd := exec.Command(interpreter, pythonRoles(f.File)[role]...)
	cmd.Env = append(os.Environ(), "SWH_CONFIG_FILENAME="+f.File, "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return worker{}, err
	}
	w := worker{log: log.Name(), stop: supervise(cmd, log.Name(), failed)}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	err = harness.Until(ctx, func() (bool, error) {
		out, err := os.ReadFile(w.log)
		found := ready.FindSubmatch(out)
		if err == nil && found != nil && role == harness.Writer {
			w.client, err = client.New(string(found[1]))
		}
		return found != nil, err
	})
	return w, err
}

// supervise waits for a process. It returns what stops it, once.
func supervise(cmd *exec.Cmd, log string, failed func(error)) (stop func() error) {
	ended, stopping := make(chan error, 1), make(chan struct{})
	fault := func(what string) error {
		out, _ := os.ReadFile(log)
		return fmt.Errorf("%s %s:\n%s", filepath.Base(log), what, out[max(0, len(out)-4000):])
	}
	go func() {
		err := cmd.Wait()
		select {
		case <-stopping:
		default:
			failed(fault("ended by itself, " + cmd.ProcessState.String()))
		}
		ended <- err
	}()
	return sync.OnceValue(func() error {
		close(stopping)
		_ = cmd.Process.Signal(syscall.SIGTERM) // where it has ended, Wait tells how
		select {
		case err := <-ended:
			if err != nil {
				return fault("ended with " + err.Error())
			}
			return nil
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			return fault(fmt.Sprint("did not end 30 s after SIGTERM; then: ", <-ended))
		}
	})
}

// doneWith is what a packer or a cleaner logs for each shard that it is done with.
var doneWith = regexp.MustCompile(`RO shard \w+: saved|Locked shard \w+ to clean|"msg":"shard packed"|"msg":"table dropped"`)

// did counts the shards that a packer or a cleaner is done with.
func did(t *testing.T, w worker) int {
	t.Helper()
	log, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	return len(doneWith.FindAll(log, -1))
}

// tables lists the shards' tables.
func tables(ctx context.Context, t *testing.T, dsn string) string {
	t.Helper()
	return python(ctx, t, "-c", `import sys
from swh.objstorage.backends.winery.sharedbase import SharedBase
print(*sorted(SharedBase(sys.argv[1]).list_shard_tables()))`, dsn)
}
