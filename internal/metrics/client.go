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
)

// Client sends metrics. Its methods may be called concurrently, and on a nil
// *Client, which sends nothing.
type Client struct{ to *statsd.Client }

// FromEnvironment makes a client by the environment, nil if that has no
// STATSD_HOST. A tag that is none is logged and left out, as in Python. A host
// that cannot be found now is looked for again at each sending.
func FromEnvironment(log *slog.Logger) (*Client, error) {
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
	return &Client{to}, nil
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

// Close sends what waits, and ends the client.
func (c *Client) Close() {
	if c != nil {
		_ = c.to.Close() // metrics are no reason to fail
	}
}

func (c *Client) timed(name string, took time.Duration, failure string, tags ...string) {
	if failure == "" {
		_ = c.to.Timing(name, took, tags, 1)
		return
	}
	_ = c.to.Incr(name+"_error_count", append(tags, "error_type:"+failure), 1)
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
