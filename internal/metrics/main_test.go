// SPDX-License-Identifier: GPL-3.0-or-later

package metrics_test

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a statsd server.
type receiver struct {
	t    *testing.T
	conn *net.UDPConn
}

// listen makes the environment's statsd server.
func listen(t *testing.T) *receiver {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadBuffer(1 << 20)
	host, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	t.Setenv("STATSD_HOST", host)
	t.Setenv("STATSD_PORT", port)
	return &receiver{t, conn}
}

// got is what was received, by name, type and tags: the sum of a metric's
// values, or a gauge's last one. It is called once all was sent.
func (r *receiver) got() map[string]float64 {
	r.t.Helper()
	last, err := net.Dial("udp", r.conn.LocalAddr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer last.Close()
	if _, err := last.Write([]byte("the end")); err != nil {
		r.t.Fatal(err)
	}
	_ = r.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	sums := map[string]float64{}
	datagram := make([]byte, 1<<16)
	for {
		n, err := r.conn.Read(datagram)
		if err != nil {
			r.t.Fatal(err)
		}
		if string(datagram[:n]) == "the end" {
			return sums
		}
		for line := range strings.Lines(string(datagram[:n])) {
			metric, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
			value, rest, _ := strings.Cut(rest, "|")
			kind, tags, _ := strings.Cut(rest, "|#")
			sorted := strings.Split(tags, ",")
			slices.Sort(sorted)
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				r.t.Errorf("%q: %v", line, err)
			}
			name := metric + "|" + kind + "|" + strings.Join(sorted, ",")
			if kind == "g" {
				sums[name] = 0 // the last one counts
			}
			sums[name] += v
		}
	}
}

// names has the keys of sums, sorted.
func names(sums map[string]float64) []string { return slices.Sorted(maps.Keys(sums)) }
