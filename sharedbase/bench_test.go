// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"winery/sharedbase"
)

// sourceText returns Go's own sources, of which objects are cut: they
// compress as what Winery stores does.
func sourceText(b *testing.B) []byte {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(runtime.GOROOT(), "src", "*", "*.go"))
	if err != nil || len(files) == 0 {
		b.Fatal("no sources of Go found: ", err)
	}
	var text []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		text = append(text, data...)
	}
	return text
}

// cutter cuts objects with a median of 3 kB and a mean of 9 kB, all different.
type cutter struct {
	text []byte
	rnd  *rand.Rand
	n    uint64
}

func (c *cutter) cut(n int) (objects []sharedbase.Object, size int64) {
	objects = make([]sharedbase.Object, n)
	for i := range objects {
		length := min(int(3000*math.Exp(1.48*c.rnd.NormFloat64())), 1<<20)
		at := c.rnd.IntN(len(c.text) - length)
		content := binary.AppendUvarint(nil, c.n)
		content = append(content, c.text[at:at+length]...)
		c.n++
		objects[i] = sharedbase.Object{ID: sha256.Sum256(content), Content: content}
		size += int64(len(content))
	}
	return objects, size
}

func BenchmarkAdd(b *testing.B) {
	from := &cutter{text: sourceText(b), rnd: rand.New(rand.NewPCG(1, 2))}
	for _, group := range []int{1, 8, 64, 500} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			base, _ := newBase(b)
			c := must(base.LockWritingShard(b.Context(), "pool"))(b)
			b.ReportAllocs()
			var total int64
			for b.Loop() {
				b.StopTimer()
				objects, size := from.cut(group)
				b.StartTimer()
				must(base.Add(b.Context(), c, objects))(b)
				total += size
			}
			report(b, group*b.N, total)
		})
	}
}

func BenchmarkStreamTable(b *testing.B) {
	from := &cutter{text: sourceText(b), rnd: rand.New(rand.NewPCG(1, 2))}
	base, _ := newBase(b)
	c := must(base.LockWritingShard(b.Context(), "pool"))(b)
	for range 40 {
		objects, _ := from.cut(500)
		must(base.Add(b.Context(), c, objects))(b)
	}
	var total, n int64
	for b.Loop() {
		n += must(base.StreamTable(b.Context(), c, func(_ sharedbase.ObjID, size int64, content io.Reader) error {
			total += size
			_, err := io.Copy(io.Discard, content)
			return err
		}))(b)
	}
	report(b, int(n), total)
}

func report(b *testing.B, objects int, bytes int64) {
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(objects)/seconds, "objects/s")
	b.ReportMetric(float64(bytes)/1e6/seconds, "MB/s")
}
