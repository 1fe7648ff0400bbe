// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"winery/internal/httpapi/rpc/client"
	"winery/internal/load"
	"winery/test/harness"
)

// store is one Winery that is measured: a server, and what it has stored.
type store struct {
	client  *client.Client
	load    load.Store       // the client that is measured with
	process *harness.Process // the server, or the parent of its workers
	objects *load.Objects
	stored  *load.IDs
	stop    func() error
}

// connections is how many clients may work at the same time: 64 that read, and 8 that add.
const connections = 64 + 8

// goStore starts a writer of a fleet.
func goStore(ctx context.Context, f *harness.Fleet, seed uint64) (*store, error) {
	p, err := f.StartWriter(ctx)
	if err != nil {
		return nil, err
	}
	return newStore(f.URL, p, seed)
}

// pythonStore starts the server of Python Winery on the configuration of a fleet,
// as in production: several workers, each with a shard of its own.
func (b *bench) pythonStore(ctx context.Context, f *harness.Fleet, seed uint64) (*store, error) {
	if err := os.Setenv("SWH_CONFIG_FILENAME", f.File); err != nil {
		return nil, err
	}
	p, err := harness.StartProcess("python-writer", filepath.Dir(f.File), b.python, "-m", "gunicorn",
		"--config", "python:swh.objstorage.backends.winery.gunicorn", "--bind", "127.0.0.1:0",
		"--workers", fmt.Sprint(b.workers), "--timeout", "3600", "--no-control-socket",
		"swh.objstorage.api.server:make_app_from_configfile()")
	if err != nil {
		return nil, err
	}
	listening := regexp.MustCompile(`Listening at: (http://\S+)`)
	var url string
	err = harness.Until(ctx, func() (bool, error) {
		log, err := os.ReadFile(p.Log)
		if found := listening.FindSubmatch(log); found != nil {
			url = string(found[1])
		}
		return url != "", err
	})
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	s, err := newStore(url, p, seed)
	if err == nil {
		_, err = s.client.CheckConfig(ctx, true) // a worker has started
	}
	return s, err
}

func newStore(url string, p *harness.Process, seed uint64) (*store, error) {
	c, err := client.New(url, client.Connections(connections))
	if err != nil {
		return nil, err
	}
	lean, err := newLeanClient(url, c)
	return &store{
		client: c, load: lean, process: p, stop: p.Stop, stored: new(load.IDs),
		objects: &load.Objects{Sizes: load.Source, Seed: seed},
	}, err
}

// add has clients store new objects for a time.
func (s *store) add(ctx context.Context, clients, batch int, d time.Duration) (load.Result, error) {
	return load.Clients{To: s.load, Count: clients, Batch: batch, Time: d}.Add(ctx, s.objects, unlimited, s.stored)
}

// fill stores so many objects.
func (s *store) fill(ctx context.Context, objects int) error {
	_, err := load.Clients{To: s.client, Count: 4, Batch: 100}.Add(ctx, s.objects, objects, s.stored)
	return err
}

// get has clients read stored objects for a time.
func (s *store) get(ctx context.Context, clients int, d time.Duration) (load.Result, error) {
	return load.Clients{To: s.load, Count: clients, Batch: 1, Time: d}.Get(ctx, s.stored, unlimited)
}

// psql runs SQL commands and returns what they print.
func psql(ctx context.Context, dsn string, commands ...string) (string, error) {
	args := []string{"--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--dbname", dsn}
	for _, command := range commands {
		args = append(args, "--command", command)
	}
	out, err := exec.CommandContext(ctx, "psql", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("psql: %w: %s", err, out)
	}
	return string(out), err
}

// count returns the whole number that a query prints.
func count(ctx context.Context, dsn, query string) (int64, error) {
	out, err := psql(ctx, dsn, query)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(out), 10, 64)
}
