// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"io"
	"os/exec"
	"strings"
	"testing"

	"winery/pool/pooltest"
	"winery/rbd"
	"winery/test/cephtest"
	"winery/test/expect"
)

// withCaps are settings of a test's pools for a user with these caps.
func withCaps(t testing.TB, p cephtest.Pool, caps rbd.Caps) rbd.Settings {
	t.Helper()
	s := settings(p)
	s.Conf, s.User = cephtest.User(t, caps.Mon, caps.OSD)
	return s
}

// TestReadCaps: a user with the caps of a writer or mapper does all that these roles
// do, and can change nothing. Each refusal names the cure. TestConformance runs with the caps of a packer.
func TestReadCaps(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	all := open(t, settings(pools))
	draft, err := all.Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	_, err = draft.WriteAt([]byte("content"), 0)
	expect.NoError(t, err)
	expect.NoError(t, draft.Commit(t.Context()))
	expect.NoError(t, all.SetMarker(t.Context(), []byte("marker"), false))

	s := withCaps(t, pools, rbd.ReadCaps(pools.Pool, pools.DataPool))
	p := open(t, s)
	marker, err := p.Marker(t.Context())
	if err != nil || string(marker) != "marker" {
		t.Errorf("marker: %q, %v", marker, err)
	}
	expect.NoError(t, p.Map(t.Context(), "one"))
	mapped, err := p.Mapped(t.Context())
	if err != nil || !mapped["one"] {
		t.Errorf("mapped are %v, %v", mapped, err)
	}
	img, err := p.OpenMapped(t.Context(), "one")
	expect.NoError(t, err)
	content := make([]byte, 7)
	if _, err = io.ReadFull(io.NewSectionReader(img, 0, 7), content); err != nil || string(content) != "content" {
		t.Errorf("read %q, %v", content, err)
	}
	expect.NoError(t, img.Close())
	_, err = p.Space(t.Context())
	expect.NoError(t, err)

	for what, try := range map[string]func() error{
		"create":  func() error { _, err := p.Create(t.Context(), "two", 0, pooltest.Anything{}); return err },
		"replace": func() error { _, err := p.Create(t.Context(), "one", 0, pooltest.Anything{}); return err },
		"edit":    func() error { _, err := p.Edit(t.Context(), "one", pooltest.Anything{}); return err },
		"remove":  func() error { return p.Remove(t.Context(), "one", pooltest.Anything{}) },
		"reserve": func() error { return p.Reserve(t.Context(), "two") },
		"marker":  func() error { return p.SetMarker(t.Context(), []byte("mine"), true) },
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), "client."+s.User) || !strings.Contains(err.Error(), "wineryctl ceph caps") {
			t.Errorf("%s: got %v, want an error that names the user and the cure", what, err)
		}
	}
	for what, command := range map[string][]string{
		"blocklist a client": {"ceph", "osd", "blocklist", "add", "127.0.0.1:0/1"},
		"write an object":    {"rados", "-p", pools.DataPool, "put", "mine", "/dev/null"},
		"delete a marker":    {"rados", "-p", pools.Pool, "rm", "winery_marker"},
		"remove an image":    {"rbd", "rm", pools.Pool + "/one"},
		"resize an image":    {"rbd", "resize", "--size", "1", "--allow-shrink", pools.Pool + "/one"},
		"lock an image":      {"rbd", "lock", "add", pools.Pool + "/one", "mine"},
		"take a snapshot":    {"rbd", "snap", "create", pools.Pool + "/one@mine"},
	} {
		args := append(command[1:], "--conf", s.Conf, "--id", s.User)
		if out, err := exec.CommandContext(t.Context(), command[0], args...).CombinedOutput(); err == nil {
			t.Errorf("%s: done: %s", what, out)
		}
	}
	after, err := all.Marker(t.Context())
	if err != nil || string(after) != "marker" {
		t.Errorf("afterwards the marker is %q, %v", after, err)
	}
}
