// SPDX-License-Identifier: GPL-3.0-or-later

// Package logtest lets a test read what the code under test logs, while it runs.
package logtest

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"winery/test/expect"
)

// Log is the text that was written to it. Its methods may be called concurrently.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Logger returns a logger of a level and above that writes to the log.
func (l *Log) Logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level}))
}

// Lines returns the lines that contain part.
func (l *Log) Lines(part string) (lines []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, part) {
			lines = append(lines, line)
		}
	}
	return lines
}

// Wait waits until a line contains part.
func (l *Log) Wait(t testing.TB, part string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the log has:\n%s", l)
		}
	}()
	expect.Eventually(t, "the log to have "+part, func() bool { return strings.Contains(l.String(), part) })
}
