// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"winery/internal/httpapi"
)

func TestMemory(t *testing.T) {
	const mib = 1 << 20
	m := httpapi.NewMemory("tests", 10*mib, time.Minute)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, b := m.NewCharge(), m.NewCharge()
	must(a.Reach(ctx, 4*mib))
	must(a.Reach(ctx, 8*mib)) // 4 MiB more
	must(a.Reach(ctx, 5*mib)) // nothing
	must(b.Reach(ctx, 2*mib))
	must(m.NewCharge().Reach(ctx, httpapi.Small))

	// A request for much memory waits, and does not delay a request for little.
	large, little := m.NewCharge(), m.NewCharge()
	waited := make(chan error)
	go func() { waited <- large.Reach(ctx, 100*mib) }() // all there is
	b.Shrink(mib)
	must(little.Reach(ctx, mib))
	little.Release()
	b.Release()
	select {
	case err := <-waited:
		t.Fatalf("got more than is free: %v", err)
	default:
	}
	a.Release()
	must(<-waited)
	if large.Bytes() != 10*mib {
		t.Errorf("%d bytes", large.Bytes())
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := a.Reach(ended, mib); !errors.Is(err, httpapi.ErrUnavailable) || a.Bytes() != 0 {
		t.Errorf("%v, %d bytes", err, a.Bytes())
	}
	large.Release()
	must(a.Reach(ctx, 10*mib))
}

// TestMemoryReclaimed holds that what is kept in reserve is given up for what is wanted.
func TestMemoryReclaimed(t *testing.T) {
	m := httpapi.NewMemory("tests", 10<<20, time.Minute)
	reserve := []*httpapi.Charge{m.NewCharge(), m.NewCharge()}
	for _, c := range reserve {
		if err := c.Reach(t.Context(), 4<<20); err != nil {
			t.Fatal(err)
		}
	}
	m.ReclaimFrom(func() bool {
		for _, c := range reserve {
			if c.Bytes() > 0 {
				c.Release()
				return true
			}
		}
		return false
	})
	if err := m.NewCharge().Reach(t.Context(), 6<<20); err != nil || reserve[0].Bytes() != 0 || reserve[1].Bytes() == 0 {
		t.Errorf("%v; %d and %d bytes in reserve", err, reserve[0].Bytes(), reserve[1].Bytes())
	}
}

// TestMemoryOfOneClient: several requests of one host get at most half of a budget;
// one request gets all of it.
func TestMemoryOfOneClient(t *testing.T) {
	const mib = 1 << 20
	limits := httpapi.DefaultLimits()
	limits.Answers = httpapi.NewMemory("tests", 10*mib, time.Millisecond)
	limits.Answers.ReclaimFrom(func() bool {
		t.Error("what is kept in reserve was wanted")
		return false
	})
	holding, end := make(chan int64), make(chan struct{})
	address := listen(t, httpapi.Handler(api(func(w http.ResponseWriter, r *http.Request) error {
		size, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/"), 10, 64)
		if err != nil {
			return err
		}
		charge := limits.Answers.NewCharge()
		defer charge.Release()
		if err := charge.Reach(r.Context(), size*mib); err != nil {
			return err
		}
		holding <- charge.Bytes()
		<-end
		httpapi.Text(w, http.StatusOK, "here")
		return nil
	}), httpapi.Options{Limits: limits, Log: discard}))
	ask := func(host, size string) net.Conn {
		return dialFrom(t, host, address, "GET /"+size+" HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	status := func(conn net.Conn) int {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	first := ask("127.0.0.2", "4")
	<-holding
	if got := status(ask("127.0.0.2", "2")); got != http.StatusTeapot { // that of a failure
		t.Errorf("more than half of the budget for one host: status %d", got)
	}
	other := ask("127.0.0.3", "6")
	<-holding
	end <- struct{}{}
	end <- struct{}{}
	if a, b := status(first), status(other); a != http.StatusOK || b != http.StatusOK {
		t.Errorf("status %d and %d", a, b)
	}
	whole := ask("127.0.0.2", "10")
	if got := <-holding; got != 10*mib {
		t.Errorf("one request holds %d bytes", got)
	}
	close(end)
	if got := status(whole); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
}
