// SPDX-License-Identifier: GPL-3.0-or-later

package imagebuild

import (
	"time"

	"winery/internal/progress"
)

// The tasks of a Job, in their order.
const (
	Counting  progress.Task = "counting the objects of"
	Comparing progress.Task = "comparing with the image in the pool" // only where there is one
	Writing   progress.Task = "packing"
	Indexing  progress.Task = "indexing"
	Verifying progress.Task = "verifying"
)

// The limits of the tasks that cannot report: counting is one statement, which
// reads the index of a table, and indexing sorts the keys and has libcmph hash
// them, which took 8 µs an object for 100 million.
const (
	CountingLimit       = time.Hour
	indexingLimitObject = 100 * time.Microsecond
	indexingLimitBase   = time.Minute
)
