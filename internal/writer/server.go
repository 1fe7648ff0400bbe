// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"winery/internal/config"
	"winery/internal/hashcache"
	"winery/internal/httpapi"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/statuspage"
	"winery/internal/ingest"
	"winery/internal/limits"
	"winery/internal/metrics"
	"winery/internal/progress"
	"winery/internal/reader"
	"winery/internal/status"
	"winery/internal/storage"
	"winery/sharedbase"
)

// The limits of a shutdown's steps. Their sum is below systemd's TimeoutStopSec of the
// unit (TestTimeToStop).
const (
	answering  = 20 * time.Second // requests in flight
	committing = 20 * time.Second // what was accepted
	cutting    = 5 * time.Second  // for requests whose context was cancelled
	// In other packages: a commit that was begun and a release, images that hang, the last heartbeat, and Sentry.
	others   = (20 + 10 + 3 + 2) * time.Second
	stopping = 2*draining + answering + committing + cutting + others
)

// Stopping is the shutdown as a task.
const Stopping progress.Task = "stopping"

// Options say what to serve. All but Metrics, Adding, Serving, Progress and Close must be set.
type Options struct {
	Config  *config.Config
	Base    *sharedbase.SharedBase
	Pools   storage.Set
	Metrics *metrics.Client
	Ready   func(address string)                // called once requests are served
	Adding  func(failure func() error)          // called once before Ready, unless read-only, with what tells why objects cannot be added
	Alive   func()                              // called every few seconds while they are, and adds are not stalled
	Serving func(address string, failure error) // called every few seconds, with the reason why objects cannot be added
	// Progress is called when the shutdown begins, with the limit of all its steps: Alive is not called any more.
	Progress progress.Func
	Close    func() error // called when the server has stopped
}

// Settings say how to listen. All but Protection must be set.
type Settings struct {
	Winery     config.Winery // its Listen may have port 0
	Protection Protection
	Version    string // for the header Server of answers: "winery/VERSION"
	Log        *slog.Logger
}

// Run listens. It calls open for what to serve, and answers each request with 503
// until open returns. It serves until ctx ends, then shuts down and returns nil if
// nothing was lost on the way. It returns an error, having shut down, if it cannot
// listen, or if open fails.
func Run(ctx context.Context, settings Settings, open func(context.Context) (Options, error)) error {
	p, log := settings.Protection, settings.Log
	listeners, passed, err := sockets(ctx, settings.Winery, log)
	if err != nil {
		return err
	}
	requests, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	front := &front{server: "winery/" + settings.Version, drain: &drain{}, ready: make(chan struct{})}
	if passed {
		front.until = time.Now().Add(starting)
	}
	server := httpapi.NewServer(requests, front, connections(limits.Get()), log)
	self := &selfCheck{}
	self.exempt(server)
	front.drain.count(server)
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var accepting sync.WaitGroup
	for _, l := range listeners {
		accepting.Go(func() { fail(server.Serve(p.wrap(l))) })
		log.Info("listening", "address", l.Addr().String())
	}

	var s *store
	o, err := open(running)
	if err == nil {
		s = newStore(o, log)
		front.serve(handler(running, o, p, s, log))
		if s.writer != nil && o.Adding != nil {
			o.Adding(func() error { return addsFailure(s.writer) })
		}
		o.Ready(listeners[0].Addr().String())
		watch(running, listeners[0].Addr(), p, self, o, log, s.writer)
		o.Progress.Unmeasured(Stopping, "", stopping)
	} else {
		front.serve(http.HandlerFunc(couldNotStart))
	}
	if ctx.Err() == nil && running.Err() != nil {
		err = errors.Join(context.Cause(running), err)
	}

	stopAccepting := sync.OnceFunc(func() {
		for _, l := range listeners {
			_ = l.Close() // of this process; the service manager still has the socket
		}
		accepting.Wait()
	})
	if passed {
		if err != nil { // the next process answers who connects now
			stopAccepting()
		}
		front.drain.wait(draining, stopAccepting)
	}
	if shutDown(server, answering) != nil {
		log.Warn("requests in flight are cut off", "duration", answering)
	}
	if s != nil {
		err = errors.Join(err, s.close())
	}
	cutOff()
	if shutDown(server, cutting) != nil {
		_ = server.Close()
	}
	accepting.Wait()
	if s != nil {
		s.reader.Close()
		if o.Close != nil {
			err = errors.Join(err, o.Close())
		}
	}
	return err
}

// connections returns how many clients may be connected: the other half of the open
// files is for images, the database and Ceph.
func connections(l limits.Limits) int { return int(min(httpapi.MaxConnections, max(l.Files/2, 1))) }

func newStore(o Options, log *slog.Logger) *store {
	cache := o.Config.Winery.HashCache
	hashes := hashcache.New(hashcache.Options{Directory: cache.Directory, Size: cache.Size, Metrics: o.Metrics, Log: log})
	process := limits.Get()
	s := &store{base: o.Base, reader: reader.NewReader(reader.Options{
		Base: o.Base, Pools: o.Pools, CacheSize: o.Config.ReadersCacheSize, Hashes: hashes,
		Calls: process.Threads() / 2, Memory: readMemory(o.Config, process), Metrics: o.Metrics, Log: log,
	})}
	if !o.Config.ReadOnly {
		s.writer = newWriter(o, log)
		s.writer.Start()
	}
	return s
}

// readMemory is the reader's memory for what calls to images read: as much as the
// budget for answers, so that requests within that budget find memory as long as no call
// was left behind.
func readMemory(c *config.Config, process limits.Limits) int64 {
	return httpapi.LimitsFor(c.Winery.MaxObjectSize, process.Memory).Answers.Limit()
}

func newWriter(o Options, log *slog.Logger) *ingest.Writer {
	active, _ := o.Config.Pool(o.Config.ActivePool)
	return ingest.New(ingest.Options{
		Base: o.Base, Pools: o.Pools, Pool: active.Name, ShardMaxSize: active.ShardMaxSize, OtherPools: otherPools(o.Config, log),
		IdleTimeout: o.Config.RWIdleTimeout, Writers: o.Config.Winery.Writers, Metrics: o.Metrics, Log: log,
	})
}

// close releases the shards.
func (s *store) close() error {
	if s.writer == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), committing)
	defer cancel()
	return s.writer.Close(ctx)
}

// handler has the APIs and the status page side by side, within the same limits.
func handler(ctx context.Context, o Options, p Protection, s *store, log *slog.Logger) http.Handler {
	c, memory := o.Config, limits.Get().Memory
	bounds := httpapi.LimitsFor(c.Winery.MaxObjectSize, memory)
	log.Info("memory budgets", "bodies", bounds.Bodies.Limit(), "answers", bounds.Answers.Limit(), "reads", s.reader.Memory)
	if needed := 2 * c.Winery.MaxObjectSize; bounds.Bodies.Limit() < needed {
		log.Warn("the memory limit is low: large requests wait for each other; raise MemoryMax of the unit or lower winery.max_object_size",
			"memory", memory, "needed", 4*needed)
	}
	objectsHandler := objects.NewHandler(s, objects.Options{
		ReadOnly: c.ReadOnly, MaxObjectSize: c.Winery.MaxObjectSize, Limits: bounds, Metrics: o.Metrics, Access: p.access(), Log: log,
	})
	mux := http.NewServeMux()
	mux.Handle("/objects", objectsHandler)
	mux.Handle("/objects/", objectsHandler)
	mux.Handle("/status", statuspage.New(ctx, statuspage.Options{
		Source: &status.Source{Base: o.Base, Pools: c.Pools, Set: o.Pools, Public: true}, Limits: bounds, Access: p.access(), Log: log,
	}))
	mux.Handle("/", rpc.NewHandler(s, rpc.Options{
		Name: c.Name, ReadOnly: c.ReadOnly, AllowDelete: c.AllowDelete, MaxObjectSize: c.Winery.MaxObjectSize,
		Limits: bounds, Metrics: o.Metrics, Access: p.access(), Log: log,
	}))
	return mux
}

func shutDown(server *http.Server, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return server.Shutdown(ctx)
}
