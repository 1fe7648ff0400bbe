// SPDX-License-Identifier: GPL-3.0-or-later

package load

import (
	"math"
	"math/rand/v2"
)

// Sizes is a distribution of the sizes of objects, in bytes.
type Sizes func(r *rand.Rand) int64

// Mixes are the distributions by name.
var Mixes = map[string]Sizes{"source": Source, "production": Production}

// Source is the distribution of files of source text: 3 kB in the median, 9 kB in
// the mean, at most 1 MiB.
func Source(r *rand.Rand) int64 {
	return min(int64(3000*math.Exp(1.48*r.NormFloat64())), 1<<20)
}

// production are the quantiles of the sizes in a large archive of source code.
var production = []struct {
	share float64
	size  float64
}{{0, 100}, {0.5, 3.5e3}, {0.9, 65e3}, {0.99, 1.5e6}, {0.999, 17e6}, {0.9999, 68e6}, {1, 68e6}}

// Production is the distribution of sizes in a large archive: its median is
// 3.5 kB, one of a thousand objects is larger than 17 MB, none than 68 MB. Between
// the known quantiles the logarithm of the size is distributed evenly.
func Production(r *rand.Rand) int64 {
	at := r.Float64()
	i := 1
	for at > production[i].share {
		i++
	}
	from, to := production[i-1], production[i]
	within := (at - from.share) / (to.share - from.share)
	return int64(from.size * math.Pow(to.size/from.size, within))
}
