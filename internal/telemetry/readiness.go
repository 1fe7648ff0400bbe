// SPDX-License-Identifier: GPL-3.0-or-later

package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"winery/internal/httpapi"
	"winery/internal/storage"
	"winery/pool"
	"winery/sharedbase"
)

// Reason is an error whose text clients may see.
type Reason string

func (r Reason) Error() string { return string(r) }

// errNotOpened is returned for what the role has not opened yet.
const errNotOpened = Reason("not opened yet")

// readiness has the conditions under which a role can work.
type readiness struct {
	role string

	mu     sync.Mutex
	names  []string // in the order of the answer
	checks map[string]func(context.Context) error
}

// require adds a condition, or replaces the one of that name.
func (r *readiness) require(name string, check func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.checks == nil {
		r.checks = map[string]func(context.Context) error{}
	}
	if r.checks[name] == nil {
		r.names = append(r.names, name)
	}
	r.checks[name] = check
}

// ready returns whether all conditions hold, and a line for each.
func (r *readiness) ready(ctx context.Context) (all bool, lines []string) {
	all = true
	r.mu.Lock()
	names := r.names
	r.mu.Unlock()
	for _, name := range names {
		r.mu.Lock()
		check := r.checks[name]
		r.mu.Unlock()
		line := name + ": ok"
		if err := check(ctx); err != nil {
			all, line = false, name+": failed: "+describe(err)
		}
		lines = append(lines, line)
	}
	return all, lines
}

// ServeHTTP answers with a line for each condition.
func (r *readiness) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	ready, lines := r.ready(request.Context())
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	httpapi.Text(w, status, strings.Join(lines, "\n"))
}

var isReady = prometheus.NewDesc("winery_ready", "1 while the role can work, as /readyz says, else 0.", []string{"role"}, nil)

// Describe implements [prometheus.Collector].
func (r *readiness) Describe(all chan<- *prometheus.Desc) { all <- isReady }

// Collect implements [prometheus.Collector].
func (r *readiness) Collect(all chan<- prometheus.Metric) {
	value := 0.0
	if ready, _ := r.ready(context.Background()); ready {
		value = 1
	}
	all <- prometheus.MustNewConstMetric(isReady, prometheus.GaugeValue, value, r.role)
}

// describe returns what clients may know of an error.
func describe(err error) string {
	var reason Reason
	var version *sharedbase.VersionError
	var refused *storage.RefusedError
	switch {
	case errors.As(err, &reason):
		return reason.Error()
	case errors.As(err, &version):
		return version.Error()
	case errors.As(err, &refused):
		return fmt.Sprintf("pool %q cannot be used; the log says what to do", refused.Pool)
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	if known := sharedbase.Public(err); known != nil {
		return known.Error()
	}
	for _, known := range []error{pool.ErrNoPool, pool.ErrNoMarker, pool.ErrFenced} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "the log has the error"
}
