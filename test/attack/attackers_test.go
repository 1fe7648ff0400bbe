// SPDX-License-Identifier: GPL-3.0-or-later

package attack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/httpapi/rpc/wire"
)

const largeSize = 64 << 20

// attack is what many connections do at the same time.
type attack struct {
	name        string
	connections int
	tls         *tls.Config   // nil: connect only
	text        string        // of a request, or of its beginning
	more        time.Duration // between two more bytes of the request; 0: none are sent
	answer      string        // the status that an answer must have; "": none is read
}

func (w *writer) attacks(t *testing.T, large [32]byte) []attack {
	head := func(token, request string, length int) string {
		return fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-msgpack\r\nAccept: application/x-msgpack\r\nContent-Length: %d\r\n\r\n",
			request, token, length)
	}
	good := w.tokens["good"]
	object := fmt.Sprintf("/objects/%x", large)
	batch := encoded(t, wire.Request{ObjIDs: slices.Repeat([][32]byte{large}, 4)})
	nested := "\x81\xa1x" + strings.Repeat("\x91", 1<<20)
	name := "\x81\xdb\x00\x40\x00\x00" + strings.Repeat("\xff", 4<<20) + "\xc1"
	plain := w.tls()
	return []attack{
		{name: "connection flood", connections: 3000},
		{name: "TLS flood", connections: 500, tls: plain},
		{name: "slowloris: half a header, a byte a second", connections: 500, tls: plain, text: "GET " + object + " HTTP/1.1\r\nHost: x\r\nX: ", more: time.Second},
		{name: "announced body, not sent", connections: 500, tls: plain, text: head(good, "PUT "+object, 90<<20)},
		{name: "body of which 3 MiB are sent", connections: 200, tls: plain, text: head(good, "PUT "+object, 90<<20) + strings.Repeat("x", 3<<20)},
		{name: "unread answers of 64 MiB", connections: 200, tls: plain, text: head(good, "GET "+object, 0)},
		{name: "unread batches", connections: 100, tls: plain, text: head(good, "POST /content/get/batch", len(batch)) + batch},
		{name: "nested msgpack", connections: 20, tls: plain, text: head(good, "POST /content/add/batch", len(nested)) + nested, answer: "400"},
		{name: "unread errors about a name of 4 MiB", connections: 40, tls: plain, text: strings.Replace(head(good, "POST /content/get/batch", len(name)), "Accept", "X", 1) + name},
		{name: "no token", connections: 100, tls: plain, text: "GET " + object + " HTTP/1.1\r\nHost: x\r\n\r\n", answer: "401"},
		{name: "expired token", connections: 100, tls: plain, text: head(w.tokens["expired"], "GET "+object, 0), answer: "401"},
		{name: "token without the right", connections: 100, tls: plain, text: head(w.tokens["reader"], "PUT "+object, 5) + "small", answer: "403"},
		{name: "certificate with another name", connections: 100, tls: w.tls("evil.example.org"), text: "GET " + object + " HTTP/1.1\r\nHost: x\r\n\r\n", answer: "401"},
	}
}

func encoded(t *testing.T, r wire.Request) string {
	t.Helper()
	var text bytes.Buffer
	if _, err := r.Encode(wire.MsgPack).WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// attackers are the connections of an attack. Each is opened again when the writer
// closes it.
type attackers struct {
	attack
	address string
	cancel  context.CancelFunc
	all     sync.WaitGroup
	opened  atomic.Int64

	mu      sync.Mutex
	answers map[string]int // by status
}

func start(t *testing.T, w *writer, a attack) *attackers {
	ctx, cancel := context.WithCancel(t.Context())
	s := &attackers{attack: a, address: w.address, cancel: cancel, answers: map[string]int{}}
	for range a.connections {
		s.all.Go(func() {
			for ctx.Err() == nil {
				s.connect(ctx)
				select { // a writer that refuses is asked once a second by each
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	return s
}

// connect attacks from 127.0.0.2 through one connection, until it is closed.
func (s *attackers) connect(ctx context.Context) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	s.opened.Add(1)
	var stream io.ReadWriter = conn
	if s.tls != nil {
		stream = tls.Client(conn, s.tls)
	}
	if s.text != "" {
		if _, err := io.WriteString(stream, s.text); err != nil {
			return
		}
	}
	switch {
	case s.answer != "":
		if answer, err := http.ReadResponse(bufio.NewReader(stream), nil); err == nil {
			s.mu.Lock()
			s.answers[fmt.Sprint(answer.StatusCode)]++
			s.mu.Unlock()
		}
	case s.more > 0:
		for _, err := io.WriteString(stream, "x"); err == nil && ctx.Err() == nil; _, err = io.WriteString(stream, "x") {
			select {
			case <-ctx.Done():
			case <-time.After(s.more):
			}
		}
	case s.text == "":
		_, _ = stream.Read(make([]byte, 1)) // until the writer closes the connection
	default:
		<-ctx.Done() // nothing is read, so that the writer cannot send
	}
}

// stop ends the attack and returns how many connections were opened, and the answers.
func (s *attackers) stop() (opened int64, answers string) {
	s.cancel()
	s.all.Wait()
	for _, status := range s.statuses() {
		answers += fmt.Sprintf("%d × %s ", s.answers[status], status)
	}
	return s.opened.Load(), strings.TrimSpace(answers)
}

func (s *attackers) statuses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.answers))
}
