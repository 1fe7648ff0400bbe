// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// With a watchdog of an hour, a thousand signs of progress are one ping, and
// an error of several lines is one line of status.
func TestNotify(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "3600000000")
	start(t, "notify", "dbname=winery").end(1)

	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got []string
	message := make([]byte, 4096)
	for len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "STATUS=failed") {
		n, err := conn.Read(message)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, string(message[:n]))
	}
	want := []string{"WATCHDOG=1", "READY=1", "STATUS=packing: 41 %", "STOPPING=1", "STATUS=failed: the database is unavailable; READY=1"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
