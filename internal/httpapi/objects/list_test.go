// SPDX-License-Identifier: GPL-3.0-or-later

package objects_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"winery/internal/httpapi"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/metrics"
	"winery/test/expect"
	"winery/test/logtest"
)

func TestList(t *testing.T) {
	var store rpctest.Store
	server := serve(t, &store, false)
	if got := do(t, server, "GET", "/objects", ""); got.status != http.StatusOK || got.text != "" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("an empty store: %+v", got)
	}
	var want []string
	for i := range 10 {
		content := fmt.Sprint(i)
		put(&store, content)
		want = append(want, address(content)[9:])
	}
	slices.Sort(want)
	path, next := "/objects?limit=4", ""
	for _, ids := range [][]string{want[:4], want[4:8], want[8:]} {
		request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var got []string
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			got = append(got, lines.Text())
		}
		if !slices.Equal(got, ids) || response.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %s, %v", path, response.Status, got)
		}
		next = response.Trailer.Get("Link")
		path = strings.TrimSuffix(strings.TrimPrefix(next, "<"), `>; rel="next"`)
	}
	if next != "" {
		t.Errorf("after the last page: %s", next)
	}
}

// many is a store of size objects, of which the index knows the ids.
type many struct {
	rpctest.Store
	size   uint64
	broken uint64 // the first that cannot be listed, if not 0
}

func (s *many) List(_ context.Context, after [32]byte, limit int) (ids [][32]byte, err error) {
	n := binary.BigEndian.Uint64(after[:])
	for n < s.size && len(ids) < limit {
		n++
		if n == s.broken {
			return nil, httpapi.ErrUnavailable
		}
		var id [32]byte
		binary.BigEndian.PutUint64(id[:], n)
		ids = append(ids, id)
	}
	return ids, nil
}

// TestListMillion holds that a million ids take no memory, and are all there.
func TestListMillion(t *testing.T) {
	const million = 1_000_000
	server := serve(t, &many{size: million + 1}, false)
	request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+fmt.Sprintf("/objects?limit=%d", million), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	first, n, last := uint64(0), 0, ""
	for lines := bufio.NewScanner(response.Body); lines.Scan(); n++ {
		if last >= lines.Text() {
			t.Fatalf("line %d is %s, after %s", n, lines.Text(), last)
		}
		last = lines.Text()
		if n%(million/10) == million/20 {
			runtime.GC()
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			if first == 0 {
				first = now.HeapAlloc
			}
			if now.HeapAlloc > first+16<<20 { // the list has 65 MB
				t.Fatalf("%d bytes after %d ids, %d at the begin", now.HeapAlloc, n, first)
			}
		}
	}
	if n != million || !strings.Contains(response.Trailer.Get("Link"), "after="+last) {
		t.Errorf("%d ids; %v", n, response.Trailer)
	}
}

// TestListOverHTTP10: HTTP/1.0 has no sign of an answer that was cut off, so it has no lists.
func TestListOverHTTP10(t *testing.T) {
	server := serve(t, &many{size: 10_000, broken: 9000}, false)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	expect.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /objects?limit=10000 HTTP/1.0\r\n\r\n")
	expect.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	expect.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusUpgradeRequired || answer.Header.Get("Upgrade") != "HTTP/1.1" || !strings.Contains(string(text), "proxy_http_version 1.1") {
		t.Errorf("%s, %v: %.200s", answer.Status, err, text)
	}
}

// TestClientLeavesList: a client that breaks off a list is no failure of the server.
func TestClientLeavesList(t *testing.T) {
	measured, err := metrics.FromEnvironment(slog.New(slog.DiscardHandler))
	expect.NoError(t, err)
	defer measured.Close()
	var log logtest.Log
	server := httptest.NewServer(objects.NewHandler(&many{size: 2_000_000}, objects.Options{
		MaxObjectSize: maxSize, Limits: httpapi.DefaultLimits(), Log: log.Logger(slog.LevelInfo), Metrics: measured,
	}))
	request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/objects?limit=1000000", nil)
	expect.NoError(t, err)
	response, err := server.Client().Do(request)
	expect.NoError(t, err)
	expect.NoError(t, response.Body.Close()) // closes the connection
	server.Close()                           // once the request has ended
	for result, want := range map[string]uint64{"server_error": 0, "client_error": 1} {
		if got := requests(t, measured, "objects_list", result); got != want {
			t.Errorf("%s: %d requests, want %d", result, got, want)
		}
	}
	if log.String() != "" {
		t.Errorf("logged %s", log.String())
	}
}

// requests returns how many requests to an endpoint had a result.
func requests(t *testing.T, measured *metrics.Client, endpoint, result string) uint64 {
	t.Helper()
	families, err := measured.Registry().Gather()
	expect.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, pair := range m.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			if family.GetName() == "winery_http_request_duration_seconds" && labels["endpoint"] == endpoint && labels["result"] == result {
				return m.GetHistogram().GetSampleCount()
			}
		}
	}
	return 0
}

// TestListBreaks holds that a list that fails midway does not look whole.
func TestListBreaks(t *testing.T) {
	server := serve(t, &many{size: 10_000, broken: 9000}, false)
	request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/objects?limit=10000", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	n, lines := 0, bufio.NewScanner(response.Body)
	for lines.Scan() {
		n++
	}
	if lines.Err() == nil || n == 0 || n >= 9000 {
		t.Errorf("%d ids without an error", n)
	}
}
