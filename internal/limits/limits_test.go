// SPDX-License-Identifier: GPL-3.0-or-later

package limits

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func TestOfCgroup(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		files         fstest.MapFS
		memory, tasks int64
	}{
		"no cgroup": {fstest.MapFS{}, None, None},
		"a unit in a slice with less memory": {fstest.MapFS{
			"proc/self/cgroup":                                            file("0::/system.slice/winery-writer.service\n"),
			"sys/fs/cgroup/system.slice/memory.max":                       file("1073741824\n"),
			"sys/fs/cgroup/system.slice/pids.max":                         file("max\n"),
			"sys/fs/cgroup/system.slice/winery-writer.service/memory.max": file("4294967296\n"),
			"sys/fs/cgroup/system.slice/winery-writer.service/pids.max":   file("4096\n"),
		}, 1 << 30, 4096},
		"a container": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1073741824\n"),
		}, 1 << 30, None},
		"cgroups of version 1": {fstest.MapFS{"proc/self/cgroup": file("3:memory:/x\n1:pids:/x\n")}, None, None},
	} {
		if memory, tasks := ofCgroup(c.files); memory != c.memory || tasks != c.tasks {
			t.Errorf("%s: memory %d, tasks %d; want %d and %d", name, memory, tasks, c.memory, c.tasks)
		}
	}
}

// TestApply: Go's heap and threads stay below what the kernel allows.
func TestApply(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	threads := debug.SetMaxThreads(maxThreads)
	defer func() { debug.SetMemoryLimit(before); debug.SetMaxThreads(threads) }()
	for limits, want := range map[Limits]struct {
		memory  int64
		threads int
	}{
		{Memory: None, Tasks: None}:    {math.MaxInt64, maxThreads},
		{Memory: 5 << 30, Tasks: 4096}: {4 << 30, 3072},
	} {
		debug.SetMemoryLimit(math.MaxInt64)
		limits.Apply()
		if memory, threads := debug.SetMemoryLimit(-1), debug.SetMaxThreads(maxThreads); memory != want.memory || threads != want.threads {
			t.Errorf("%+v: memory %d, threads %d; want %+v", limits, memory, threads, want)
		}
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	debug.SetMemoryLimit(math.MaxInt64)
	Limits{Memory: 5 << 30, Tasks: None}.Apply()
	if memory := debug.SetMemoryLimit(-1); memory != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT is set, and the limit was replaced by %d", memory)
	}
}
