// SPDX-License-Identifier: GPL-3.0-or-later

package metrics

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Client measures. Its methods may be called concurrently, and on a nil *Client,
// which measures nothing.
type Client struct {
	*series
	registry *prometheus.Registry
	statsd   *statsd.Client // nil without STATSD_HOST
}

// FromEnvironment returns a client with a registry of its own. It sends to statsd,
// too, if the environment has STATSD_HOST. A tag that is none is logged and left
// out, as in Python. A host that cannot be found now is looked for again at each
// sending.
func FromEnvironment(log *slog.Logger) (*Client, error) {
	to, err := openStatsd(log)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Client{newSeries(registry), registry, to}, nil
}

// Registry returns the registry of the Prometheus metrics.
func (c *Client) Registry() *prometheus.Registry { return c.registry }

// openStatsd returns nil without STATSD_HOST.
func openStatsd(log *slog.Logger) (*statsd.Client, error) {
	host, port := os.Getenv("STATSD_HOST"), os.Getenv("STATSD_PORT")
	if host == "" {
		return nil, nil
	}
	if port == "" {
		port = "8125"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("STATSD_PORT: found %q, must be a number from 1 to 65535", port)
	}
	to, err := statsd.NewWithWriter(&socket{address: net.JoinHostPort(host, port)},
		statsd.WithTags(tags(log, os.Getenv("STATSD_TAGS"))),
		statsd.WithMaxBytesPerPayload(statsd.OptimalUDPPayloadSize),
		statsd.WithoutTelemetry(), statsd.WithoutOriginDetection())
	if err != nil {
		return nil, fmt.Errorf("STATSD_HOST: %w", err)
	}
	return to, nil
}

// reference is a tag's value that the environment holds.
var reference = regexp.MustCompile(`^\$(?:(\w+)|\{(\w+)\})$`)

func tags(log *slog.Logger, list string) (tags []string) {
	for tag := range strings.SplitSeq(list, ",") {
		key, value, ok := strings.Cut(tag, ":")
		if !ok {
			if tag != "" {
				log.Warn("STATSD_TAGS has a tag that is not of the form key:value", "tag", tag)
			}
			continue
		}
		if name := reference.FindStringSubmatch(value); name != nil {
			if found, ok := os.LookupEnv(name[1] + name[2]); ok {
				value = found
			}
		}
		tags = append(tags, key+":"+value)
	}
	return tags
}

// Close sends what waits to statsd, and ends the client.
func (c *Client) Close() {
	if c != nil && c.statsd != nil {
		_ = c.statsd.Close() // metrics are no reason to fail
	}
}

// The functions below send to statsd. Tags are names and values in turn.

func (c *Client) count(name string, n int64, tags ...string) {
	if c.statsd != nil {
		_ = c.statsd.Count(name, n, joined(tags), 1)
	}
}

func (c *Client) gauge(name string, value float64, tags ...string) {
	if c.statsd != nil {
		_ = c.statsd.Gauge(name, value, joined(tags), 1)
	}
}

func (c *Client) timed(name string, took time.Duration, failure string, tags ...string) {
	switch {
	case c.statsd == nil:
	case failure == "":
		_ = c.statsd.Timing(name, took, joined(tags), 1)
	default:
		_ = c.statsd.Incr(name+"_error_count", append(joined(tags), "error_type:"+failure), 1)
	}
}

func joined(tags []string) (pairs []string) {
	for i := 0; i < len(tags); i += 2 {
		pairs = append(pairs, tags[i]+":"+tags[i+1])
	}
	return pairs
}

// retryAfter is how long a server that cannot be found is not looked for
// again, so that nothing, not even the end of the process, waits for it often.
const retryAfter = 10 * time.Second

// socket is a UDP socket that is opened at the first write and after a failed
// one. Only one goroutine uses it at a time.
type socket struct {
	address string
	conn    net.Conn
	err     error // why it could not be opened
	tried   time.Time
}

func (s *socket) Write(p []byte) (n int, err error) {
	if s.conn == nil {
		if s.err != nil && time.Since(s.tried) < retryAfter {
			return 0, s.err
		}
		s.tried = time.Now()
		conn, err := net.DialTimeout("udp", s.address, time.Second)
		if s.err = err; err != nil {
			return 0, err
		}
		s.conn = conn
	}
	if n, err = s.conn.Write(p); err != nil {
		err = errors.Join(err, s.Close())
	}
	return n, err
}

func (s *socket) Close() (err error) {
	if s.conn != nil {
		err = s.conn.Close()
		s.conn = nil
	}
	return err
}
