// SPDX-License-Identifier: GPL-3.0-or-later

package relay_test

import (
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/test/expect"
	"winery/test/harness/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that sends everything back.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestRelay(t *testing.T) {
	r, dsn, err := relay.Database("postgresql://user@" + echo(t) + "/name")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	u, err := url.Parse(dsn)
	if err != nil || u.User.Username() != "user" || u.Path != "/name" {
		t.Fatalf("the DSN behind the relay is %s", dsn)
	}
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	answer := make([]byte, 5)
	passes := func(c net.Conn) {
		t.Helper()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "hello" {
			t.Fatalf("%q came back, %v", answer, err)
		}
	}
	fails := func(c net.Conn) {
		t.Helper()
		_, _ = c.Write([]byte("hello"))
		if n, err := c.Read(answer); err == nil {
			t.Fatalf("%q came back through a relay that is cut", answer[:n])
		}
	}

	c := dial()
	passes(c)
	r.Hold()
	late := dial()
	for _, held := range []net.Conn{c, late} {
		if _, err := held.Write([]byte("later")); err != nil {
			t.Fatal(err)
		}
	}
	expect.Eventually(t, "two pieces to be held", func() bool { return r.Held() >= 2 })
	r.Resume()
	for _, held := range []net.Conn{c, late} {
		if _, err := io.ReadFull(held, answer); err != nil || string(answer) != "later" {
			t.Fatalf("%q came after the hold, %v", answer, err)
		}
	}

	r.Cut()
	fails(c)
	if refused, err := net.Dial("tcp", u.Host); err == nil { // else the reset was quicker
		fails(refused)
		_ = refused.Close()
	}
	if n := r.Refused(); n != 1 {
		t.Errorf("%d connections were refused, want 1", n)
	}
	r.Join()
	passes(dial())
}
