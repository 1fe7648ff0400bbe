// SPDX-License-Identifier: GPL-3.0-or-later

package journal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/internal/journal"
	"winery/test/expect"
	"winery/test/logtest"
)

// listening is a journal under test, with a log to it.
type listening struct {
	conn   *net.UnixConn
	log    *slog.Logger
	stderr logtest.Log
}

func listen(t *testing.T) *listening {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	expect.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	l := &listening{conn: conn}
	h, err := journal.NewHandler(socket, "winery-packer", slog.LevelInfo, &l.stderr)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, h.Close()) })
	l.log = slog.New(h)
	return l
}

// read returns the fields of the next record, nil if there is none.
func (l *listening) read(t *testing.T) map[string]string {
	t.Helper()
	datagram := make([]byte, 1<<20)
	conn, err := l.conn.SyscallConn()
	expect.NoError(t, err)
	var n int
	var failed error
	expect.NoError(t, conn.Read(func(fd uintptr) bool { // a record is here once it was sent
		n, _, failed = unix.Recvfrom(int(fd), datagram, unix.MSG_DONTWAIT)
		return true
	}))
	if errors.Is(failed, unix.EAGAIN) {
		return nil
	}
	expect.NoError(t, failed)
	fields := map[string]string{}
	for rest := string(datagram[:n]); rest != ""; {
		name, after, _ := strings.Cut(rest, "\n")
		size := binary.LittleEndian.Uint64([]byte(after))
		fields[name] = after[8 : 8+size]
		rest = strings.TrimPrefix(after[8+size:], "\n")
	}
	return fields
}

func TestFields(t *testing.T) {
	l := listen(t)
	log := l.log.With("role", "packer").WithGroup("image")
	log.Error("step failed", "err", errors.New("no space:\nnone"), "retry_in", 4*time.Second,
		slog.Group("at", "offset", 7), strings.Repeat("k-", 40), true)
	l.log.Debug("not logged")
	l.log.Warn("lease lost", "shard", "i3f")
	got := fmt.Sprint(l.read(t))
	want := fmt.Sprint(map[string]string{
		"MESSAGE": `step failed role=packer image.err="no space:\nnone" image.retry_in=4s image.at.offset=7 image.` +
			strings.Repeat("k-", 40) + "=true",
		"PRIORITY": "3", "SYSLOG_IDENTIFIER": "winery-packer", "WINERY_ROLE": "packer",
		"WINERY_IMAGE_ERR": "no space:\nnone", "WINERY_IMAGE_RETRY_IN": "4s", "WINERY_IMAGE_AT_OFFSET": "7",
		"WINERY_IMAGE_" + strings.Repeat("K_", 25) + "K": "true",
	})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := l.read(t); got["PRIORITY"] != "4" || got["MESSAGE"] != "lease lost shard=i3f" || got["WINERY_SHARD"] != "i3f" {
		t.Errorf("got %q", got)
	}
	if text := l.stderr.String(); text != "" {
		t.Errorf("on standard error: %s", text)
	}
}

// TestJournalHangs: a journal that reads nothing blocks no log, and no line is lost.
func TestJournalHangs(t *testing.T) {
	l := listen(t)
	const lines = 5000
	began := time.Now()
	for i := range lines {
		l.log.Info("line", "n", i)
	}
	took := time.Since(began)
	inJournal := 0
	for l.read(t) != nil {
		inJournal++
	}
	if onStderr := len(l.stderr.Lines("msg=line")); inJournal == 0 || onStderr == 0 || inJournal+onStderr != lines {
		t.Errorf("%d lines are in the journal and %d on standard error, want %d together", inJournal, onStderr, lines)
	}
	t.Logf("%d lines were logged in %v", lines, took)
	l.log.Info("again")
	if got := l.read(t); got["MESSAGE"] != "again" {
		t.Errorf("once the journal reads again: %q", got)
	}
}

// TestNotTaken: what the journal cannot take is on standard error.
func TestNotTaken(t *testing.T) {
	l := listen(t)
	l.log.Info("large", "stacks", strings.Repeat("x", 1<<20))
	expect.NoError(t, l.conn.Close())
	l.log.With("role", "packer").Info("refused")
	for _, want := range []string{"level=INFO msg=large stacks=xxx", "level=INFO msg=refused role=packer"} {
		if len(l.stderr.Lines(want)) != 1 {
			t.Errorf("standard error lacks %s", want)
		}
	}
}
