// SPDX-License-Identifier: GPL-3.0-or-later

// Package limits tells how much the operating system lets this process have: by its
// cgroup, as systemd's MemoryMax and TasksMax set it, and by its resource limits.
package limits

import (
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// None is a limit that is not set.
const None = math.MaxInt64

// Limits are how much a process may have.
type Limits struct {
	Memory int64 // bytes
	Tasks  int64 // threads, its own and those of C libraries
	Files  int64 // open file descriptors
}

// Get returns the limits of this process.
func Get() Limits {
	l := Limits{Files: None}
	l.Memory, l.Tasks = ofCgroup(os.DirFS("/"))
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && files.Cur < None {
		l.Files = int64(files.Cur)
	}
	return l
}

// LogValue implements [slog.LogValuer]. It leaves out what is not limited.
func (l Limits) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Int("threads", l.Threads())}
	if l.Memory != None {
		attrs = append(attrs, slog.Int64("memory", l.Memory))
	}
	if l.Files != None {
		attrs = append(attrs, slog.Int64("files", l.Files))
	}
	return slog.GroupValue(attrs...)
}

// ofCgroup returns the lowest limits of the process's cgroup and of those around it.
// A file that does not exist sets none: there is no cgroup of version 2.
func ofCgroup(root fs.FS) (memory, tasks int64) {
	memory, tasks = None, None
	list, _ := fs.ReadFile(root, "proc/self/cgroup")
	_, group, _ := strings.Cut(string(list), "0::")
	group, _, _ = strings.Cut(group, "\n")
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		memory = min(memory, read(root, dir, "memory.max"))
		tasks = min(tasks, read(root, dir, "pids.max"))
		if dir == "/" {
			return memory, tasks
		}
	}
}

func read(root fs.FS, dir, file string) int64 {
	text, _ := fs.ReadFile(root, path.Join("sys/fs/cgroup", dir, file))
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil { // "max"
		return None
	}
	return limit
}

// maxThreads is Go's own limit.
const maxThreads = 10_000

// Apply makes Go's runtime keep within the limits, so that it collects garbage before
// the kernel kills the process, and names the reason when there are too many threads.
// A fifth of the memory and a quarter of the threads are for C libraries. The
// environment variable GOMEMLIMIT counts more.
func (l Limits) Apply() {
	if l.Memory != None && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(l.Memory / 5 * 4)
	}
	gatherGarbage()
	debug.SetMaxThreads(l.Threads())
}

// Threads returns how many threads Go may have.
func (l Limits) Threads() int { return int(min(maxThreads, max(l.Tasks/4*3, 1))) }
