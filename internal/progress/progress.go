// SPDX-License-Identifier: GPL-3.0-or-later

// Package progress is how every long task reports its progress: a role to the
// service manager and to its supervisor, wineryctl to a progress bar.
package progress

import (
	"fmt"
	"time"
)

// Task names what is done, as the beginning of a line for people: "packing".
type Task string

// Report is the progress of a task.
type Report struct {
	Task Task
	// Shard is the shard's name, or what else the task is about. "": nothing by name.
	Shard string
	// Done and Total are bytes, or images. Total is Unknown where the end is, and
	// 0 where the task is not measured.
	Done, Total int64
	Images      bool
	// Rate is the mean since the task began, in bytes a second.
	Rate float64
	// Limit is how long a task that cannot report its progress may take; 0 for one
	// that reports about once a second.
	Limit time.Duration
}

// Unknown is the Total of a task whose end is not known.
const Unknown = -1

// String is a line for people: "packing i3f…: 41 %, 212 MB/s, 4m38s left".
func (r Report) String() string {
	line := string(r.Task)
	if r.Shard != "" {
		line += " " + r.Shard
	}
	switch {
	case r.Limit > 0:
		return fmt.Sprintf("%s: at most %v", line, r.Limit)
	case r.Images:
		return fmt.Sprintf("%s: %d of %d", line, r.Done, r.Total)
	case r.Total == Unknown:
		return fmt.Sprintf("%s: %.0f MB, %.0f MB/s", line, float64(r.Done)/1e6, r.Rate/1e6)
	case r.Total == 0:
		return line
	}
	line += fmt.Sprintf(": %d %%, %.0f MB/s", min(100, r.Done*100/r.Total), r.Rate/1e6)
	if left := float64(r.Total-r.Done) / r.Rate; left >= 1 && left < 1e6 {
		line += fmt.Sprintf(", %v left", time.Duration(left)*time.Second)
	}
	return line
}

// Func is called with reports, one call at a time. A nil Func takes none.
type Func func(Report)

// Unmeasured reports that a task begins which reports nothing until it ends, within
// limit.
func (f Func) Unmeasured(task Task, shard string, limit time.Duration) {
	if f != nil {
		f(Report{Task: task, Shard: shard, Limit: limit})
	}
}
