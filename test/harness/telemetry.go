// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"winery/internal/metrics"
	"winery/internal/telemetry"
)

// Telemetry returns the address at which a daemon answers about itself. It waits until
// the daemon listens.
func (p *Process) Telemetry(ctx context.Context) (address string, err error) {
	record, err := p.waitForRecord(ctx, "serving metrics and health")
	return fmt.Sprint(record["address"]), err
}

// Ask returns the status and the body of a daemon's answer about itself: to
// /metrics, /livez or /readyz.
func (p *Process) Ask(ctx context.Context, path string) (status int, body string, err error) {
	address, err := p.Telemetry(ctx)
	if err != nil {
		return 0, "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := once.Do(request)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", p.Name, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

var described = regexp.MustCompile(`^Desc\{fqName: "(winery_[a-z_]+)",.* variableLabels: \{([a-z0-9_,]*)\}\}$`)

// Metrics returns the names of the metrics that a daemon may have, each with its
// labels, apart from those of Go and of the process.
func Metrics() (labels map[string][]string, err error) {
	m, err := metrics.FromEnvironment(slog.Default())
	if err != nil {
		return nil, err
	}
	defer m.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	telemetry.Serve(l, telemetry.Options{Registry: m.Registry(), Log: slog.Default()}).Close()
	all := make(chan *prometheus.Desc, 1000)
	m.Registry().Describe(all)
	close(all)
	labels = map[string][]string{}
	for desc := range all {
		if match := described.FindStringSubmatch(desc.String()); match != nil {
			labels[match[1]] = strings.FieldsFunc(match[2], func(r rune) bool { return r == ',' })
		}
	}
	return labels, nil
}
