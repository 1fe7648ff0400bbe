// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"winery/internal/ingest"
	"winery/sharedbase"
)

// source is a few MB of Go source text.
func source(b *testing.B) []byte {
	files, err := filepath.Glob(filepath.Join(runtime.GOROOT(), "src", "runtime", "*.go"))
	if err != nil || len(files) == 0 {
		b.Fatalf("no Go sources to store: %v", err)
	}
	var text []byte
	for _, f := range files {
		part, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		text = append(text, part...)
	}
	return text
}

// text returns n different objects of the archive's sizes: 3 kB in the median,
// 9 kB in the mean.
func text(b *testing.B, n int) []sharedbase.Object {
	all, from := make([]sharedbase.Object, n), source(b)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range all {
		size := min(int(3000*math.Exp(1.48*random.NormFloat64())), len(from)/2)
		at := random.IntN(len(from) - size)
		all[i] = object(fmt.Sprintf("%d\n%s", i, from[at:at+size]))
	}
	return all
}

// BenchmarkAdd counts objects: one an add, from 1, 8 and 64 goroutines, and 100
// an add from 8.
func BenchmarkAdd(b *testing.B) {
	for _, bench := range []struct{ clients, batch, lanes int }{{1, 1, 1}, {8, 1, 1}, {64, 1, 1}, {64, 1, 2}, {8, 100, 1}} {
		b.Run(fmt.Sprintf("clients=%d/batch=%d/lanes=%d", bench.clients, bench.batch, bench.lanes), func(b *testing.B) {
			f := newFixture(b)
			w := f.start(ingest.Options{Writers: bench.lanes})
			batches := slices.Collect(slices.Chunk(text(b, b.N), bench.batch))
			var next, bytes atomic.Int64
			var clients sync.WaitGroup
			b.ResetTimer()
			for range bench.clients {
				clients.Go(func() {
					for i := next.Add(1) - 1; int(i) < len(batches); i = next.Add(1) - 1 {
						added, err := w.Add(b.Context(), batches[i])
						if err != nil || added.Objects != len(batches[i]) {
							b.Errorf("%d added, %v", added.Objects, err)
							return
						}
						bytes.Add(added.Bytes)
					}
				})
			}
			clients.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
			b.ReportMetric(float64(bytes.Load())/1e6/b.Elapsed().Seconds(), "MB/s")
		})
	}
}
