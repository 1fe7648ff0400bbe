// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/test/expect"
)

// starved is how long the machine has waited for a processor of the host: that of its
// threads which waited longest.
func (m *machine) starved() (longest time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", m.qemu.Process.Pid))
	for _, path := range threads {
		var ran, waited time.Duration
		if text, err := os.ReadFile(path); err == nil { // else the thread has ended
			_, _ = fmt.Sscan(string(text), &ran, &waited)
		}
		longest = max(longest, waited)
	}
	return longest
}

// limited calls do, which talks to the machine, and limits how long this may take. The time
// in which the machine waits for a processor does not count: on a busy host it may be most.
func (m *machine) limited(limit time.Duration, do func() error) error {
	began, starved := time.Now(), m.starved()
	set := func() error { return m.conn.SetDeadline(began.Add(limit + m.starved() - starved)) }
	if err := set(); err != nil {
		return err
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-tick.C:
				_ = set() // of a connection that has ended, do tells
			case <-done:
				tick.Stop()
				return
			}
		}
	}()
	err := do()
	close(done)
	<-ended
	return err
}

// TestStarved: the limit moves by as long as the machine, which shares a processor here,
// waits for it, and not for ever.
func TestStarved(t *testing.T) {
	var allowed, one unix.CPUSet
	expect.NoError(t, unix.SchedGetaffinity(0, &allowed))
	for cpu := 0; one.Count() == 0; cpu++ {
		if allowed.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	m := &machine{}
	for range 2 {
		m.qemu = exec.Command("sh", "-c", "while :; do :; done")
		expect.NoError(t, m.qemu.Start())
		hog := m.qemu
		t.Cleanup(func() { _, _ = hog.Process.Kill(), hog.Wait() })
		expect.NoError(t, unix.SchedSetaffinity(m.qemu.Process.Pid, &one))
	}
	conn, silent := socketPair(t)
	defer silent.Close()
	defer conn.Close()
	m.conn = conn
	expect.Eventually(t, "the machine to wait for a processor", func() bool { return m.starved() > 0 })
	const limit = 3 * time.Second
	began := time.Now()
	err := m.limited(limit, func() error { _, err := conn.Read(make([]byte, 1)); return err })
	if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took < limit+limit/10 {
		t.Errorf("after %v: %v", took, err)
	}
}
