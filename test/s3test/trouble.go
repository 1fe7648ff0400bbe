// SPDX-License-Identifier: GPL-3.0-or-later

package s3test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Trouble stands between a client and a server, and does to requests what a store in
// trouble does. Its methods may be called concurrently.
type Trouble struct {
	Endpoint  string // a URL
	Authority []byte // the certificate that signed that of BeforeTLS, in PEM

	mu       sync.Mutex
	request  func(w http.ResponseWriter, r *http.Request) (answered bool)
	response func(answer *http.Response) error
	log      []string
}

// Before starts a Trouble before a server, which lets everything pass.
func Before(t testing.TB, s *Server) *Trouble { return before(t, s, httptest.NewServer) }

// BeforeTLS is Before with TLS.
func BeforeTLS(t testing.TB, s *Server) *Trouble {
	var certificate []byte
	tr := before(t, s, func(handler http.Handler) *httptest.Server {
		web := httptest.NewUnstartedServer(handler)
		web.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it
		web.StartTLS()
		certificate = web.Certificate().Raw
		return web
	})
	tr.Authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	return tr
}

func before(t testing.TB, s *Server, listen func(http.Handler) *httptest.Server) *Trouble {
	t.Helper()
	server, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	tr := &Trouble{}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(server)
			r.Out.Host = r.In.Host // which is signed
		},
		Transport:      transport,
		ModifyResponse: func(answer *http.Response) error { return tr.answered(answer) },
		// Without an answer the client's connection is cut.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	web := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !tr.asked(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		transport.CloseIdleConnections()
	})
	tr.Endpoint = web.URL
	return tr
}

// Requests has request called with each request that comes; where that returns true
// it has answered. nil lets all requests pass.
func (tr *Trouble) Requests(request func(w http.ResponseWriter, r *http.Request) (answered bool)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.request = request
}

// Answers has response called with each answer of the server, which it may change; its
// error cuts the connection. nil lets all answers pass.
func (tr *Trouble) Answers(response func(answer *http.Response) error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.response = response
}

// Seen returns the methods and URLs of the requests since the last call.
func (tr *Trouble) Seen() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	seen := tr.log
	tr.log = nil
	return seen
}

func (tr *Trouble) asked(w http.ResponseWriter, r *http.Request) bool {
	tr.mu.Lock()
	tr.log = append(tr.log, r.Method+" "+r.URL.RequestURI())
	request := tr.request
	tr.mu.Unlock()
	return request != nil && request(w, r)
}

func (tr *Trouble) answered(answer *http.Response) error {
	tr.mu.Lock()
	response := tr.response
	tr.mu.Unlock()
	if response == nil {
		return nil
	}
	return response(answer)
}

// Answer writes an error as S3 does.
func Answer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<Error><Code>" + code + "</Code><Message>as the test wants it</Message></Error>"))
}
