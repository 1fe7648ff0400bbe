// SPDX-License-Identifier: GPL-3.0-or-later

package statuspage_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"winery/test/expect"
)

// browser is a Chromium without a screen. It is told what to do by the Chrome DevTools
// Protocol: JSON messages that end with a zero byte, over the file descriptors 3 and 4.
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	session string
	last    int
	log     []string // of the console and of the network
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// startBrowser opens an empty page in a browser that ends with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	read, to, err := os.Pipe()
	expect.NoError(t, err)
	from, write, err := os.Pipe()
	expect.NoError(t, err)
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
		"--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{read, write}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run scripts/install-deps package-test", err)
	}
	expect.NoError(t, read.Close())
	expect.NoError(t, write.Close())
	b := &browser{t: t, to: to, from: bufio.NewReader(from)}
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		_ = cmd.Wait()
		_, _ = to.Close(), from.Close()
		if t.Failed() {
			t.Logf("chromium: %s", complaints.String())
		}
	})
	var target struct{ TargetID, SessionID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// call sends a command, and waits for its result.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.last++
	text, err := json.Marshal(params)
	expect.NoError(b.t, err)
	if params == nil {
		text = []byte("{}")
	}
	text, err = json.Marshal(message{ID: b.last, Session: b.session, Method: method, Params: text})
	expect.NoError(b.t, err)
	_, err = b.to.Write(append(text, 0))
	expect.NoError(b.t, err)
	for {
		m := b.next()
		if m.ID != b.last {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			expect.NoError(b.t, json.Unmarshal(m.Result, result))
		}
		return
	}
}

// next reads a message, and notes what the browser logs.
func (b *browser) next() (m message) {
	b.t.Helper()
	text, err := b.from.ReadBytes(0)
	expect.NoError(b.t, err)
	expect.NoError(b.t, json.Unmarshal(bytes.TrimRight(text, "\x00"), &m))
	switch m.Method {
	case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown":
		b.log = append(b.log, string(m.Params))
	}
	return m
}

// open loads a page.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	for b.next().Method != "Page.loadEventFired" {
		continue
	}
}

// evaluate returns the value of an expression in the page.
func (b *browser) evaluate(expression string, value any) {
	b.t.Helper()
	var answer struct {
		Result struct{ Value json.RawMessage }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &answer)
	expect.NoError(b.t, json.Unmarshal(answer.Result.Value, value))
}
