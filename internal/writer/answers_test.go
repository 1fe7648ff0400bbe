// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"bufio"
	"log/slog"

	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"winery/test/logtest"
)

// halfClosing sends a request, closes its sending side, and returns the answer.
func halfClosing(t *testing.T, address, request string) (status int, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(all)
}

// TestHalfClosingClients: clients that close their sending side after their
// request get its result.
func TestHalfClosingClients(t *testing.T) {
	s := start(t, options(t))
	defer s.end()
	for i := range 30 {
		content := fmt.Sprintf("object %d", i)
		address := fmt.Sprintf("/objects/%x", sha256.Sum256([]byte(content)))
		put := fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", address, len(content), content)
		if status, text := halfClosing(t, s.address, put); status != http.StatusCreated {
			t.Fatalf("PUT %d: %d %s", i, status, text)
		}
		if status, text := halfClosing(t, s.address, "GET "+address+" HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusOK || text != content {
			t.Fatalf("GET %d: %d %s", i, status, text)
		}
	}
}

// TestUnavailableDatabase: an answer does not name the host and user of the database; the log does.
func TestUnavailableDatabase(t *testing.T) {
	o := configured(t, "postgresql://somebody:secret@127.0.0.1:1/somewhere", t.TempDir())
	defer o.Base.Close()
	defer o.Pools.Close()
	o.Config.ReadOnly = true
	var log logtest.Log
	s := startLogging(t, o, log.Logger(slog.LevelInfo))
	defer s.end()
	for path, body := range map[string]string{
		"/objects/" + fmt.Sprintf("%x", sha256.Sum256(nil)): "",
		"/objects":          "",
		"/content/contains": `{"obj_id": {"sha256": {"swhtype": "bytes", "d": "` + strings.Repeat("0", 40) + `"}}}`,
	} {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
		status, text := halfClosing(t, s.address, request)
		id := requestIDIn(text)
		if status != http.StatusServiceUnavailable || !strings.Contains(text, "the database is unavailable") || id == "" {
			t.Errorf("%s: %d %s", path, status, text)
		}
		for _, secret := range []string{"somebody", "secret", "127.0.0.1", "somewhere", "SELECT"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells %q: %s", path, secret, text)
			}
		}
		if lines := log.Lines("id=" + id); len(lines) == 0 || !strings.Contains(lines[0], "127.0.0.1:1") || strings.Contains(lines[0], "secret") {
			t.Errorf("%s: the log has %q", path, lines)
		}
	}
}
