// SPDX-License-Identifier: GPL-3.0-or-later

// Bench measures a whole Winery of real processes beside Python Winery, on the
// same PostgreSQL and in the same run, and beside what the layers below can do at
// most. It prints one table in Markdown; docs/performance.md explains it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"winery/internal/limits"
	"winery/test/harness"
)

// unlimited is the number of objects where only time ends a measurement.
const unlimited = math.MaxInt

// bench is what all parts use.
type bench struct {
	rounds     int
	time       time.Duration // of one measurement
	inImages   int           // how many objects the images have from which objects are read
	toPack     int           // how many objects the shard has that is packed
	tinyToPack int           // the same, for the memory that many small objects take
	indexRows  []int         // the sizes of an index, in ascending order
	walFiles   int           // how many files PostgreSQL has for its WAL in the beginning
	profiles   string        // a folder for CPU profiles, or ""
	root       string        // the project's folder
	dir        string        // of this run
	python     string        // the interpreter of Python Winery
	workers    int           // of Python's server
	services   *harness.Services
	postgres   int // process id
	report     report
	made       int // folders and databases
}

// part is what can be measured by itself.
type part struct {
	name    string
	measure func(*bench, context.Context) error
	ceph    bool // it needs Ceph
}

// parts are in the order in which they are measured.
var parts = []part{
	{"tables", (*bench).tables, false},
	{"images", (*bench).images, false},
	{"packing", (*bench).packing, false},
	{"memory", (*bench).memory, false},
	{"mosaic", (*bench).mosaics, false},
	{"rbd", (*bench).rbd, true},
	{"production", (*bench).production, true},
	{"index", (*bench).indexSizes, false},
}

// names lists the parts for a person.
func names() string {
	var all []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	return strings.Join(all, ", ")
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	root := flag.String("root", ".", "the project's folder, with bin and scripts")
	rounds := flag.Int("rounds", 5, "how often each figure is measured; the median is printed")
	each := flag.Duration("time", 5*time.Second, "how long one measurement takes")
	only := flag.String("only", "", "the parts to measure, separated by commas: "+names()+"; empty: all")
	workers := flag.Int("python-workers", 4, "the number of workers of Python's server")
	profiles := flag.String("profiles", "", "a folder for a CPU profile of the writer in each row; empty: none")
	flag.Parse()
	limits.Get().Apply() // as the programs that it measures: the clients shall take little
	b := &bench{
		rounds: *rounds, time: *each, inImages: 20_000, toPack: 50_000, tinyToPack: 5_000_000, indexRows: []int{1e6, 10e6, 50e6}, walFiles: 192, root: *root, profiles: *profiles,
		python: os.Getenv("WINERY_PYTHON"), workers: *workers, report: report{out: os.Stdout},
	}
	chosen := parts
	if *only != "" {
		chosen = slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return !slices.Contains(strings.Split(*only, ","), p.name) })
	}
	return b.run(ctx, chosen)
}

// run starts the services and measures parts.
func (b *bench) run(ctx context.Context, chosen []part) (err error) {
	if b.python == "" {
		return errors.New("WINERY_PYTHON must name a Python with the packages of scripts/python-venv: make bench sets it")
	}
	if b.dir, err = os.MkdirTemp("", "winery-bench-"); err != nil {
		return err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // user postgres passes through
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(b.dir)
		} else {
			fmt.Fprintln(os.Stderr, "the logs stay in", b.dir)
		}
	}()
	ceph := slices.ContainsFunc(chosen, func(p part) bool { return p.ceph })
	b.services, err = harness.StartServices(ctx, filepath.Join(b.root, "scripts"), b.dir, ceph)
	defer func() { err = errors.Join(err, b.services.Stop()) }()
	if err != nil {
		return err
	}
	if b.postgres, err = postmaster(b.services.Postgres); err != nil {
		return err
	}
	if err := b.writeWAL(ctx); err != nil {
		return err
	}
	for _, p := range chosen {
		if err := p.measure(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// writeWAL has PostgreSQL make files for its WAL, which it uses again after a checkpoint: a server that has worked for a
// while has them, and makes no more.
func (b *bench) writeWAL(ctx context.Context) error {
	_, err := psql(ctx, b.services.DSN, fmt.Sprintf(
		"SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 16 << 20))) FROM generate_series(1, %d)", b.walFiles), "CHECKPOINT")
	return err
}

// postmaster is the process id of the PostgreSQL in a folder of scripts/pg-up.
func postmaster(folder string) (int, error) {
	lines, err := os.ReadFile(filepath.Join(folder, "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(lines), "\n")
	return strconv.Atoi(first)
}

// writers is how many shards a writer fills at the same time where groups are large, one for each core: while one
// waits for its commit, the other works. Python's has one for each of its processes.
const writers = 2

// fleet makes a Winery with a folder of its own, and a database of its own unless the options
// name one that is filled. The caller closes it.
func (b *bench) fleet(ctx context.Context, o harness.Options) (*harness.Fleet, error) {
	b.made++
	o.Bin, o.OneUser = b.program(""), true
	o.Dir = filepath.Join(b.dir, fmt.Sprintf("fleet%d", b.made))
	if err := os.Mkdir(o.Dir, 0o755); err != nil {
		return nil, err
	}
	if o.DSN != "" {
		return harness.Configure(ctx, o)
	}
	var err error
	if o.DSN, err = b.database(ctx, ""); err != nil {
		return nil, err
	}
	return harness.New(ctx, o)
}

// database makes a database, an empty one or a copy of another, and returns its DSN.
func (b *bench) database(ctx context.Context, template string) (dsn string, err error) {
	b.made++
	name := fmt.Sprintf("bench%d", b.made)
	command := "CREATE DATABASE " + name
	if template != "" {
		command += " TEMPLATE " + template[strings.LastIndex(template, "/")+1:]
	}
	_, err = psql(ctx, b.services.DSN, command)
	return b.services.DSN[:strings.LastIndex(b.services.DSN, "/")+1] + name, err
}

// dropDatabase removes a database and ends its connections.
func (b *bench) dropDatabase(ctx context.Context, dsn string) error {
	_, err := psql(ctx, b.services.DSN, "DROP DATABASE "+dsn[strings.LastIndex(dsn, "/")+1:]+" WITH (FORCE)")
	return err
}

// pythonDatabase makes a database as Python Winery does: with its schema alone, and
// PostgreSQL's own compression. It returns its DSN.
func (b *bench) pythonDatabase(ctx context.Context) (string, error) {
	dsn, err := b.database(ctx, "")
	if err == nil {
		// The libpq of psycopg's binary package puts words into DSNs that psql does not know.
		_, err = command(ctx, "env", "PSYCOPG_IMPL=python", b.python, filepath.Join(b.root, "test/interop/testdata/winery.py"), "init", dsn)
	}
	return dsn, err
}

// program is the path of a program of Winery.
func (b *bench) program(name string) string { return filepath.Join(b.root, "bin", name) }
