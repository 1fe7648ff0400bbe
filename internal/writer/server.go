// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"winery/internal/config"
	"winery/internal/httpapi"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc"
	"winery/internal/ingest"
	"winery/internal/metrics"
	"winery/internal/reader"
	"winery/internal/storage"
	"winery/sharedbase"
)

// The limits of a shutdown's steps. Their sum is below systemd's TimeoutStopSec
// of the unit.
const (
	answering  = 20 * time.Second // requests under way
	committing = 20 * time.Second // what was accepted, and the shards' release
	cutting    = 5 * time.Second  // requests that were told to give up
)

// Options of Run. All but Metrics must be set.
type Options struct {
	Config  *config.Config // Winery.Listen may have port 0
	Base    *sharedbase.SharedBase
	Pools   storage.Set
	Metrics *metrics.Client
	Log     *slog.Logger
	Ready   func(address string) // called once requests are answered
	Alive   func()               // called every few seconds while they are, and adds get on
}

// Run serves until ctx ends, then shuts down and returns nil if nothing was
// lost on the way. It returns an error, having shut down, if it cannot listen.
func Run(ctx context.Context, o Options) error {
	listeners, err := sockets(ctx, o.Config.Winery.Listen)
	if err != nil {
		return err
	}
	s := &store{base: o.Base, reader: reader.NewReader(reader.Options{
		Base: o.Base, Pools: o.Pools, CacheSize: o.Config.ReadersCacheSize, Metrics: o.Metrics, Log: o.Log,
	})}
	defer s.reader.Close()
	if !o.Config.ReadOnly {
		s.writer = newWriter(o)
		s.writer.Start()
	}
	return serve(ctx, o, s, listeners)
}

func newWriter(o Options) *ingest.Writer {
	active, others := o.Config.ActivePool, map[string]int64{}
	for _, p := range o.Config.Pools {
		others[p.Name] = p.ShardMaxSize
	}
	size := others[active]
	delete(others, active)
	return ingest.New(ingest.Options{
		Base: o.Base, Pool: active, ShardMaxSize: size, OtherPools: others,
		IdleTimeout: o.Config.RWIdleTimeout, Writers: o.Config.Winery.Writers, Log: o.Log,
	})
}

// close gives the shards back.
func (s *store) close() error {
	if s.writer == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), committing)
	defer cancel()
	return s.writer.Close(ctx)
}

func serve(ctx context.Context, o Options, s *store, listeners []net.Listener) error {
	requests, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	server := httpapi.NewServer(requests, handler(o, s), o.Log)
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- server.Serve(l) }()
		o.Log.Info("listening", "address", l.Addr().String())
	}
	o.Ready(listeners[0].Addr().String())
	var background sync.WaitGroup
	defer background.Wait()
	signs, stopSigns := context.WithCancel(ctx)
	defer stopSigns()
	background.Go(func() { watch(signs, listeners[0].Addr(), o, s.writer) })

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-ended:
	}
	err := shutDown(server, answering)
	if err != nil {
		o.Log.Warn("requests under way are cut off", "error", err)
	}
	err = errors.Join(failed, s.close())
	cutOff()
	if shutDown(server, cutting) != nil {
		_ = server.Close()
	}
	return err
}

// handler has the APIs side by side, within the same limits.
func handler(o Options, s *store) http.Handler {
	c, limits := o.Config, httpapi.DefaultLimits()
	objects := objects.NewHandler(s, objects.Options{
		ReadOnly: c.ReadOnly, MaxObjectSize: c.Winery.MaxObjectSize, Limits: limits, Metrics: o.Metrics, Log: o.Log,
	})
	mux := http.NewServeMux()
	mux.Handle("/objects", objects)
	mux.Handle("/objects/", objects)
	mux.Handle("/", rpc.NewHandler(s, rpc.Options{
		Name: c.Name, ReadOnly: c.ReadOnly, AllowDelete: c.AllowDelete,
		VerifyContent: c.Winery.VerifyContent, MaxObjectSize: c.Winery.MaxObjectSize,
		Limits: limits, Metrics: o.Metrics, Log: o.Log,
	}))
	return mux
}

func shutDown(server *http.Server, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return server.Shutdown(ctx)
}
