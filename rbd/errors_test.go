// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"winery/test/cephtest"
)

// ofCeph is an error as go-ceph returns it.
type ofCeph int

func (e ofCeph) Error() string  { return fmt.Sprintf("ret=%d", int(e)) }
func (e ofCeph) ErrorCode() int { return int(e) }

// TestUnreadable: callers can tell what cannot be read, as for a file.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	p := open(t, settings(cephtest.Pool{Pool: "shards"}))
	if err := p.Fail("read", "one", ofCeph(-int(unix.EIO))); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
}
