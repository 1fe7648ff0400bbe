// SPDX-License-Identifier: GPL-3.0-or-later

package alerts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/harness/relay"
)

const (
	rulesFile = "../../deploy/prometheus/winery.rules.yml"
	shardSize = 1 << 20
	poolSize  = 512 << 20
)

// stage is a fleet on a small file system, its network to PostgreSQL, and a Prometheus.
type stage struct {
	*harness.Fleet
	t       *testing.T
	ctx     context.Context
	bin     string // the folder of the programs
	images  string // the file system of the pool
	dsn     string // of the database, around the network
	network *relay.Relay
	prom    *harness.Prometheus
	running map[*harness.Process]string // what is scraped, with its program
	fired   map[string]bool
	kept    [32]byte     // an object that fill added
	url     atomic.Value // of the writer that was started last, for the goroutines that read
}

func newStage(t *testing.T, rules string, limit time.Duration) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	s := &stage{t: t, ctx: ctx, running: map[*harness.Process]string{}, fired: map[string]bool{}}
	o := fleettest.Options(t)
	s.dsn, s.images, o.ShardMaxSize, o.Lease = o.DSN, t.TempDir(), shardSize, 4*time.Second
	expect.NoError(t, unix.Mount("tmpfs", s.images, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", poolSize)))
	t.Cleanup(func() { expect.NoError(t, unix.Unmount(s.images, 0)) })
	var err error
	s.network, o.DSN, err = relay.Database(o.DSN)
	expect.NoError(t, err)
	t.Cleanup(s.network.Close)
	o.Images, s.bin = s.images, o.Bin
	s.Fleet = fleettest.New(t, o)
	rules, err = filepath.Abs(rules)
	expect.NoError(t, err)
	s.prom, err = harness.StartPrometheus(s.ctx, t.TempDir(), rules, time.Second)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, s.prom.Stop()) })
	s.startWriter()
	return s
}

// alertNames returns the names of all alerts.
func alertNames(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	expect.NoError(t, err)
	for _, match := range regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, match[1])
	}
	return names
}

func (s *stage) startWriter() {
	s.t.Helper()
	p, err := s.StartWriter(s.ctx)
	expect.NoError(s.t, err)
	s.url.Store(s.URL)
	s.running[p] = harness.Writer
	s.scrape()
}

// start starts a process that is scraped.
func (s *stage) start(program string, args ...string) *harness.Process {
	s.t.Helper()
	p, err := s.Start(program, args...)
	expect.NoError(s.t, err)
	s.running[p] = program
	s.scrape()
	return p
}

// writerWith starts one more writer, with more lines of the section winery.
func (s *stage) writerWith(lines string) *harness.Process {
	s.t.Helper()
	_, file := s.For(harness.Writer)
	text, err := os.ReadFile(file)
	expect.NoError(s.t, err)
	file += ".more"
	expect.NoError(s.t, os.WriteFile(file, append(text, lines...), 0o600))
	return s.start(harness.Writer, "--config", file, "--listen", "127.0.0.1:0")
}

// buildOldWriter builds a writer as the one in bin/ was built, with another version.
func (s *stage) buildOldWriter() (program string) {
	s.t.Helper()
	info, err := buildinfo.ReadFile(filepath.Join(s.bin, harness.Writer))
	expect.NoError(s.t, err)
	program = filepath.Join(s.t.TempDir(), "old")
	args := []string{"build", "-o", program, "-ldflags=-X winery/internal/daemon.version=0.0.1"}
	for _, setting := range info.Settings {
		if strings.HasPrefix(setting.Key, "-") && setting.Key != "-ldflags" {
			args = append(args, setting.Key+"="+setting.Value)
		}
	}
	if out, err := exec.CommandContext(s.ctx, "go", append(args, "winery/cmd/"+harness.Writer)...).CombinedOutput(); err != nil {
		s.t.Fatalf("go %q: %v\n%s", args, err, out)
	}
	return program
}

func (s *stage) startOldWriter(program string) *harness.Process {
	s.t.Helper()
	_, file := s.For(harness.Writer)
	p, err := harness.StartProcess("old", s.t.TempDir(), program, "--config", file, "--log-format", "json", "--telemetry-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0")
	expect.NoError(s.t, err)
	s.t.Cleanup(func() { expect.NoError(s.t, p.Stop()) })
	s.running[p] = harness.Writer
	s.scrape()
	return p
}

// stopAll stops all processes of a program, but for some.
func (s *stage) stopAll(program string, but ...*harness.Process) {
	s.t.Helper()
	for p, of := range s.running {
		if of == program && !slices.Contains(but, p) {
			expect.NoError(s.t, p.Stop())
			delete(s.running, p)
		}
	}
	s.scrape()
}

func (s *stage) runToEnd(programs ...string) {
	for _, program := range programs {
		fleettest.RunToEnd(s.ctx, s.t, s.Fleet, program)
	}
}

// scrape makes Prometheus scrape the processes that have not ended.
func (s *stage) scrape() {
	s.t.Helper()
	addresses := []string{}
	for p := range s.running {
		select {
		case <-p.Done():
			delete(s.running, p)
		default:
			address, err := p.Telemetry(s.ctx)
			expect.NoError(s.t, err)
			addresses = append(addresses, address)
		}
	}
	slices.Sort(addresses)
	expect.NoError(s.t, s.prom.Scrape(slices.Compact(addresses)...))
}

// scraped waits until Prometheus has scraped a process that started at another time than
// the one before at its address, and returns this time.
func (s *stage) scraped(p *harness.Process, before string) (started string) {
	s.t.Helper()
	address, err := p.Telemetry(s.ctx)
	expect.NoError(s.t, err)
	expect.NoError(s.t, harness.Until(s.ctx, func() (bool, error) {
		series, err := s.prom.Query(s.ctx, fmt.Sprintf("process_start_time_seconds{instance=%q}", address))
		if err == nil && len(series) > 0 {
			started = series[0].Value
		}
		return started != before, err
	}))
	return started
}

// restart starts a process again and again at the same address, until an alert fires.
func (s *stage) restart(program, alert string) {
	s.t.Helper()
	p := s.start(program)
	address, err := p.Telemetry(s.ctx)
	expect.NoError(s.t, err)
	for started := ""; !s.firing()[alert]; {
		started = s.scraped(p, started)
		expect.NoError(s.t, p.Kill())
		p = s.start(program, "--telemetry-listen", address)
	}
}

// shard is a shard with one object.
type shard struct {
	id   [32]byte
	name string
	ID   int64
}

func (s shard) number() string { return strconv.FormatInt(s.ID, 10) }

// fill adds an object that fills a shard.
func (s *stage) fill() (added shard) { return s.add(shardSize) }

// add adds an object of a size in bytes.
func (s *stage) add(size int) (added shard) {
	s.t.Helper()
	content := make([]byte, size)
	_, _ = rand.Read(content) // never fails
	added.id = sha256.Sum256(content)
	expect.NoError(s.t, s.Client.Add(s.ctx, added.id, content))
	at, err := s.Base.Locate(s.ctx, [][32]byte{added.id})
	expect.NoError(s.t, err)
	of, err := s.Base.ShardByName(s.ctx, at[0].Shard)
	expect.NoError(s.t, err)
	added.name, added.ID, s.kept = of.Name, of.ID, added.id
	return added
}

func (s *stage) image(of shard) string { return filepath.Join(s.images, harness.PoolName, of.name) }

// read reads an object over and over, whatever comes of it, until stop is called.
func (s *stage) read(id [32]byte) (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			once, cancel := context.WithTimeout(ctx, 2*time.Second)
			if request, err := http.NewRequestWithContext(once, http.MethodGet, fmt.Sprintf("%s/objects/%x", s.url.Load(), id), nil); err == nil {
				request.Close = true
				if answer, err := http.DefaultClient.Do(request); err == nil {
					_ = answer.Body.Close()
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
			cancel()
		}
	}()
	return func() { cancel(); <-ended }
}

// firing returns the names of the alerts that fire.
func (s *stage) firing() map[string]bool {
	s.t.Helper()
	alerts, err := s.prom.Alerts(s.ctx)
	expect.NoError(s.t, err)
	names := map[string]bool{}
	for _, a := range alerts {
		if a.State == "firing" {
			names[a.Labels["alertname"]] = true
		}
	}
	return names
}

// during causes the faults, waits until all their alerts fire, and ends the faults.
func (s *stage) during(faults []fault) {
	s.t.Helper()
	for _, f := range faults {
		if f.begin != nil {
			s.silent(f.alerts...) // of what an earlier fault has left
		}
	}
	began, missing := map[string]time.Time{}, map[string]string{}
	for _, f := range faults {
		for _, name := range f.alerts {
			began[name], missing[name] = time.Now(), f.what
		}
		if f.begin != nil {
			f.begin()
		}
	}
	if !s.within(2*time.Minute, func() bool {
		for name := range s.firing() {
			if what := missing[name]; what != "" {
				s.t.Logf("%-64s → %-26s %3.0f s", what, name, time.Since(began[name]).Seconds())
				delete(missing, name)
				s.fired[name] = true
			}
		}
		return len(missing) == 0
	}) {
		s.t.Errorf("these alerts did not fire: %v", missing)
	}
	for _, f := range faults {
		if f.end != nil {
			f.end()
		}
	}
}

// silent waits until none of these alerts fires.
func (s *stage) silent(names ...string) {
	s.t.Helper()
	firing := []string{}
	if !s.within(3*time.Minute, func() bool {
		now := s.firing()
		firing = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !now[name] })
		return len(firing) == 0
	}) {
		s.t.Fatalf("these alerts still fire: %q", firing)
	}
}

// within waits until a condition holds, and reports whether it held in time.
func (s *stage) within(limit time.Duration, holds func() bool) bool {
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	return harness.Until(ctx, func() (bool, error) { return holds(), nil }) == nil
}
