// SPDX-License-Identifier: GPL-3.0-or-later

package load

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"winery/internal/httpapi/rpc/client"
)

// Objects is an endless series of different objects. Objects of another Seed are
// others. It may be used concurrently.
type Objects struct {
	Sizes Sizes
	Seed  uint64
	// Repeated is the share, from 0 to 1, of the objects that Next returns again
	// after it returned them before.
	Repeated float64

	next atomic.Uint64 // how many Next has returned for the first time
}

// Next returns the next object of the series, or with the probability Repeated one
// of the earlier ones.
func (o *Objects) Next() client.Object {
	if known := o.next.Load(); known > 0 && rand.Float64() < o.Repeated {
		return o.at(rand.Uint64N(known))
	}
	return o.at(o.next.Add(1) - 1)
}

// at returns object number i, which is the same each time.
func (o *Objects) at(i uint64) client.Object {
	random := rand.New(rand.NewPCG(o.Seed, i))
	size := o.Sizes(random)
	content := fmt.Appendf(make([]byte, 0, max(size, headSize)), "%016x%016x\n", o.Seed, i)
	for all := text(); int64(len(content)) < size; {
		from := random.IntN(len(all) / 2)
		content = append(content, all[from:min(int64(len(all)), int64(from)+size-int64(len(content)))]...)
	}
	return client.Object{ID: sha256.Sum256(content), Content: content}
}

// headSize is the size of what distinguishes an object from every other: the least size.
const headSize = 33
