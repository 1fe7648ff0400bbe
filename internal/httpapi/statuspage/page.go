// SPDX-License-Identifier: GPL-3.0-or-later

// Package statuspage serves the state of a fleet as a page for people: what `wineryctl
// status` prints, from the same source.
//
// The page needs no script and no other file, and is for light and dark screens of any
// width. It is made at most once in a few seconds, whatever the number of requests, in the
// background: while the database does not answer, the page says so within the patience,
// with status 503.
package statuspage

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/singleflight"

	"winery/internal/httpapi"
	"winery/internal/status"
	"winery/sharedbase"
)

const (
	kept     = 5 * time.Second  // for all clients
	patience = 5 * time.Second  // of a client, with the database
	refresh  = 15 * time.Second // in a browser
)

// Options are a handler's settings. All but Access must be set.
type Options struct {
	Source *status.Source
	Limits *httpapi.Limits
	Access httpapi.Access // as httpapi.Options has it
	Log    *slog.Logger   // as httpapi.Options has it
}

// New serves the page. The end of ctx ends the work on it.
func New(ctx context.Context, o Options) http.Handler {
	p := &page{read: func() status.Report { return status.Read(ctx, o.Source) }}
	return httpapi.Handler(p, httpapi.Options{Limits: o.Limits, Log: o.Log, Access: o.Access})
}

type page struct {
	read func() status.Report

	making singleflight.Group
	mu     sync.Mutex
	last   answer
	until  time.Time // last is given until then
}

// answer is a page that was made.
type answer struct {
	status int
	body   []byte
}

// Endpoint leaves the page out of the metrics of the API.
func (p *page) Endpoint(*http.Request) string { return "" }

// Needs returns the right to read.
func (p *page) Needs(*http.Request) httpapi.Right { return httpapi.Read }

func (p *page) Serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return httpapi.Refuse(http.StatusMethodNotAllowed, "%s takes GET and HEAD, not %s", r.URL.Path, r.Method)
	}
	a, err := p.current(r.Context())
	if err != nil {
		return err
	}
	h := w.Header()
	if r.URL.Query().Get("refresh") != "off" {
		h.Set("Refresh", strconv.Itoa(int(refresh.Seconds())))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // httpapi's handler records the outcome
	return nil
}

// Fail answers in plain text: without the right to read, there is no page.
func (p *page) Fail(w http.ResponseWriter, _ *http.Request, err error) (kind string) {
	problem := httpapi.Describe(w, err)
	w.Header().Set("Cache-Control", "no-store")
	httpapi.Text(w, problem.Plain, problem.Text)
	return problem.Type
}

// current returns the last page, or waits for a new one.
func (p *page) current(ctx context.Context) (answer, error) {
	p.mu.Lock()
	last, until := p.last, p.until
	p.mu.Unlock()
	if time.Now().Before(until) {
		return last, nil
	}
	made := p.making.DoChan("", func() (any, error) {
		a, err := render(p.read())
		if err != nil {
			return a, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.last, p.until = a, time.Now().Add(kept)
		return a, nil
	})
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case a := <-made:
		return a.Val.(answer), a.Err
	case <-timeout.C:
	case <-ctx.Done():
	}
	return render(status.Report{At: time.Now().UTC(), Verdict: status.Unknown, Problems: []status.Problem{{
		Code: status.DatabaseUnreadable, Severity: status.Cannot, What: "the database has not answered within " + patience.String(),
		Cure: status.DatabaseCure(sharedbase.ErrUnavailable),
	}}})
}

//go:embed page.html
var source string

//go:embed page.css
var style string

// policy lets the page have its own style, and nothing else.
var policy = func() string {
	hash := sha256.Sum256([]byte(style))
	return "default-src 'none'; img-src data:; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

var parsed = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // of this program
	"age":   func(seconds int64) string { return status.Age(time.Duration(seconds) * time.Second) },
	"comma": humanize.Comma,
	"bytes": func(n int64) string { return humanize.Bytes(uint64(n)) },
	"sub":   func(count int64, on []string) int64 { return count - int64(len(on)) },
	"every": func() string { return status.Age(refresh) },
}).Parse(source))

func render(r status.Report) (answer, error) {
	var b bytes.Buffer
	if err := parsed.Execute(&b, r); err != nil {
		return answer{}, fmt.Errorf("making the status page: %w", err)
	}
	a := answer{http.StatusOK, b.Bytes()}
	if r.Verdict == status.Unknown {
		a.status = http.StatusServiceUnavailable
	}
	return a, nil
}
