// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"context"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"winery/pool/pooltest"
	"winery/test/cephtest"
	"winery/test/expect"
)

// TestCloseDuringCalls: while an OSD does not answer, a role gives its calls up, and they
// stay in librbd and librados. Close does not disconnect beneath them. The test is not
// parallel: it looks for its calls on all stacks.
func TestCloseDuringCalls(t *testing.T) {
	ceph := cephtest.Start(t)
	p := open(t, settings(cephtest.Pool{Conf: ceph.Conf, Pool: "shards", DataPool: "shards-data"}))
	d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	expect.NoError(t, d.Commit(t.Context()))
	defer hangsAfter(time.Minute)()
	ceph.SignalOSD(syscall.SIGSTOP)
	calls := map[string]func() error{
		"rbd.OpenImageReadOnly(": func() error {
			img, err := p.Open(context.Background(), "one")
			if err != nil {
				return err
			}
			return img.Close()
		},
		"rbd.GetImageNames(": func() error { _, err := p.List(context.Background()); return err },
		"GetAllOmapValues(":  func() error { _, err := p.ImageIDs(context.Background(), "one"); return err },
	}
	ended := make(chan error, len(calls))
	for in, call := range calls {
		go func() { ended <- call() }()
		expect.Eventually(t, in, func() bool {
			stacks := make([]byte, 1<<20)
			return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), in)
		})
	}
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "3 images are still open") {
		t.Errorf("Close during three calls: got %v", err)
	}
	ceph.SignalOSD(syscall.SIGCONT)
	for range calls {
		expect.NoError(t, <-ended)
	}
}
