// SPDX-License-Identifier: GPL-3.0-or-later

package statuspage_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"winery/internal/httpapi/statuspage"
	"winery/internal/status"
	"winery/test/expect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trouble is the report of a fleet with problems of each severity.
func trouble(t *testing.T) (r status.Report) {
	text, err := os.ReadFile("testdata/trouble.json")
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Error(err)
	}
	return r
}

func get(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// elements returns the elements of a page by their names. It fails if the page is not well-formed.
func elements(t *testing.T, page string) map[string][]xml.StartElement {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	found := map[string][]xml.StartElement{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		expect.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			found[e.Name.Local] = append(found[e.Name.Local], e.Copy())
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	i := slices.IndexFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == name })
	if i < 0 {
		return ""
	}
	return e.Attr[i].Value
}

// TestPage: the page has all that the report has, problems first, and what people need
// who do not see it.
func TestPage(t *testing.T) {
	r := trouble(t)
	w := get(statuspage.Of(func() status.Report { return r }), "GET", "/status")
	page := w.Body.String()
	if w.Code != 200 || w.Header().Get("Refresh") != "15" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("status %d, header %v", w.Code, w.Header())
	}
	at := 0
	for _, want := range []string{
		"W001", "object damaged", "and 2 more", "verify --shard", "W009", "<caption>", "12,345", "2 quarantined", "failing: ", "packer", "pid 4711", "gone: ", "storage3", "marker missing",
	} {
		i := strings.Index(page[at:], want)
		if i < 0 {
			t.Fatalf("no %q in this order:\n%s", want, page)
		}
		at += i
	}
	found := elements(t, page)
	if attribute(found["html"][0], "lang") != "en" || len(found["h1"]) != 1 || len(found["h2"]) != 5 || len(found["main"]) != 1 {
		t.Errorf("%v", found)
	}
	if len(found["table"]) != 4 || len(found["caption"]) != 4 {
		t.Errorf("%d tables, %d captions", len(found["table"]), len(found["caption"]))
	}
	for _, th := range found["th"] {
		if scope := attribute(th, "scope"); scope != "col" && scope != "row" {
			t.Errorf("%v has the scope %q", th, scope)
		}
	}
	for _, name := range []string{"script", "img", "iframe"} {
		if len(found[name]) > 0 {
			t.Errorf("the page has %v", found[name])
		}
	}
	for _, e := range append(found["link"], found["a"]...) {
		if href := attribute(e, "href"); href != "data:," && !strings.HasPrefix(href, "?") {
			t.Errorf("the page refers to %s", href)
		}
	}
	if off := get(statuspage.Of(func() status.Report { return r }), "GET", "/status?refresh=off"); off.Header().Get("Refresh") != "" {
		t.Error("refresh=off does not stop refreshing")
	}
	if post := get(statuspage.Of(func() status.Report { return r }), "POST", "/status"); post.Code != 405 {
		t.Errorf("POST: %d", post.Code)
	}
}

// TestEscaping: names and statuses that are HTML remain text.
func TestEscaping(t *testing.T) {
	const hostile = `</style><script>alert(1)</script><img src=x onerror="alert(2)">'"&`
	r := status.Report{
		Verdict: status.Problems, Database: status.Database{Name: hostile},
		Problems:  []status.Problem{{Code: hostile, Severity: hostile, What: hostile, On: []string{hostile}, Cure: hostile}},
		Shards:    []status.ShardCount{{Pool: hostile, State: hostile}},
		Processes: []status.Process{{Role: hostile, Host: hostile, Version: hostile, Status: hostile}},
		Hosts:     []status.Host{{Name: hostile}}, Pools: []status.Pool{{Name: hostile, Type: hostile, State: hostile, Error: hostile}},
	}
	page := get(statuspage.Of(func() status.Report { return r }), "GET", "/status").Body.String()
	found := elements(t, page)
	if len(found["script"])+len(found["img"]) > 0 || len(found["style"]) != 1 || strings.Contains(page, "<script") {
		t.Errorf("%s", page)
	}
	if n := strings.Count(page, "&lt;script&gt;"); n < 14 {
		t.Errorf("%d of the names are there", n)
	}
}

// TestFlood: the report is read once for all clients, and again when it is old.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		h := statuspage.Of(func() status.Report {
			reads.Add(1)
			time.Sleep(time.Second)
			return status.Report{Verdict: status.Well}
		})
		flood := func() {
			var clients sync.WaitGroup
			for range 1000 {
				clients.Go(func() {
					if w := get(h, "GET", "/status"); w.Code != 200 || !strings.Contains(w.Body.String(), "No problems") {
						t.Errorf("status %d", w.Code)
					}
				})
			}
			clients.Wait()
		}
		flood()
		flood()
		if n := reads.Load(); n != 1 {
			t.Errorf("read %d times", n)
		}
		time.Sleep(statuspage.Kept)
		flood()
		if n := reads.Load(); n != 2 {
			t.Errorf("read %d times after the page was old", n)
		}
	})
}

// TestNoAnswer: a database that does not answer delays no client for longer than 5 s, and
// is asked once. What could not be read is a problem on the page.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		h := statuspage.Of(func() status.Report {
			reads.Add(1)
			time.Sleep(time.Minute)
			return status.Report{Verdict: status.Unknown, Problems: []status.Problem{{Code: status.DatabaseUnreadable, What: "unreadable"}}}
		})
		for range 3 {
			began := time.Now()
			w := get(h, "GET", "/status")
			if took := time.Since(began); took != 5*time.Second || w.Code != 503 || !strings.Contains(w.Body.String(), "the database has not answered within 5s") || !strings.Contains(w.Body.String(), "start PostgreSQL") {
				t.Errorf("status %d after %v", w.Code, took)
			}
		}
		time.Sleep(46 * time.Second) // after the read has ended, not at the same moment
		if w := get(h, "GET", "/status"); w.Code != 503 || !strings.Contains(w.Body.String(), "unreadable") || reads.Load() != 1 {
			t.Errorf("status %d, read %d times", w.Code, reads.Load())
		}
	})
}
