// SPDX-License-Identifier: GPL-3.0-or-later

package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"

	"winery/internal/httpapi"
	"winery/pool"
	"winery/sharedbase"
)

// maxConnections is enough for scrapes, probes and a person.
const maxConnections = 64

// Options are the settings of a Server. All but WebConfig must be set.
type Options struct {
	Registry *prometheus.Registry
	Role     string // of winery_ready
	// Live returns nil while the process makes progress, or waits. It must not wait
	// for anything.
	Live func() error
	// WebConfig is the path of a web configuration file of exporter-toolkit, for TLS
	// and authentication; "" for neither. CheckWebConfig has accepted it.
	WebConfig string
	Log       *slog.Logger
}

// CheckWebConfig returns what is wrong with a web configuration file.
func CheckWebConfig(path string) error { return web.Validate(path) }

// Server answers for a process. Its methods may be called concurrently, and on a
// nil *Server, which does nothing.
type Server struct {
	readiness
	http     *http.Server
	database *database
	pools    *pools
	ended    chan struct{}
}

// Serve answers the requests that come by l, until Close. Until conditions are
// added, /readyz says that database and pools are not opened yet.
func Serve(l net.Listener, o Options) *Server {
	s := &Server{readiness: readiness{role: o.Role}, database: newDatabase(o.Log), pools: &pools{log: o.Log}, ended: make(chan struct{})}
	o.Registry.MustRegister(&s.readiness, s.database, s.pools)
	for _, name := range []string{"database", "pools"} {
		s.Fails(name, errNotOpened)
	}
	s.http = httpapi.NewServer(context.Background(), s.handler(o), maxConnections, o.Log)
	go func() {
		defer close(s.ended)
		if err := serve(s.http, l, o); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("metrics and health are no longer served", "err", err)
		}
	}()
	return s
}

func serve(server *http.Server, l net.Listener, o Options) error {
	if o.WebConfig == "" {
		return server.Serve(l)
	}
	return web.Serve(l, server, &web.FlagConfig{WebConfigFile: &o.WebConfig}, o.Log)
}

func (s *Server) handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Live(); err != nil {
			httpapi.Text(w, http.StatusServiceUnavailable, "failed: "+describe(err))
			return
		}
		httpapi.Text(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /readyz", &s.readiness)
	profiles := map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline, "/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
	}
	for path, profile := range profiles {
		mux.Handle(path, onlyLocal(profile))
	}
	return mux
}

// onlyLocal refuses requests that do not come from this host.
func onlyLocal(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r) {
			httpapi.Text(w, http.StatusForbidden, "profiles are only for requests from the process's host")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isLocal reports whether r came over a unix socket, over loopback, or from the address
// that it was sent to: a process that asks an address of its own host has that address.
func isLocal(r *http.Request) bool {
	if httpapi.OverUnixSocket(r) {
		return true
	}
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	asked, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return client.Addr().Unmap().IsLoopback() || ok && client.Addr().Unmap() == asked.AddrPort().Addr().Unmap()
}

// Requires adds a condition for /readyz, or replaces the one of that name. check
// is called concurrently, and must return soon.
func (s *Server) Requires(name string, check func() error) {
	if s != nil {
		s.require(name, func(context.Context) error { return check() })
	}
}

// Fails adds a condition that does not hold, with the reason, or replaces the one
// of that name. Clients see only the texts of known errors, and of a [Reason].
func (s *Server) Fails(name string, reason error) {
	s.Requires(name, func() error { return reason })
}

// WatchDatabase adds the metrics of the database, which need not be reachable yet.
func (s *Server) WatchDatabase(base *sharedbase.SharedBase) {
	if s != nil {
		s.database.base.Store(base)
	}
}

// DatabaseReady makes the answer of the database a condition for /readyz, in place
// of the reason given to Fails.
func (s *Server) DatabaseReady() {
	if s != nil {
		s.require("database", s.database.check)
	}
}

// WatchPools adds the metrics of the pools. That they are opened fulfils the
// condition: a pool that is unavailable later does not keep the role from all of
// its work.
func (s *Server) WatchPools(opened map[string]pool.Pool) {
	if s != nil {
		s.pools.watch(opened)
		s.Requires("pools", func() error { return nil })
	}
}

// Close ends the server, and cuts off requests in flight.
func (s *Server) Close() {
	if s != nil {
		_ = s.http.Close()
		<-s.ended
	}
}
