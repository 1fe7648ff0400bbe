// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"winery/pool/pooltest"
	"winery/test/cephtest"
	"winery/test/expect"
)

const imageSize = 256 << 20

// BenchmarkWrite packs as a packer does: blocks of 4 MiB, some in flight.
func BenchmarkWrite(b *testing.B) {
	for _, inFlight := range []int{1, 8, 16} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			s := settings(cephtest.New(b))
			s.ShardMaxSize = imageSize / 2
			d, err := open(b, s).Create(b.Context(), "one", 0, pooltest.Anything{})
			expect.NoError(b, err)
			defer func() { expect.NoError(b, d.Abort(b.Context())) }()
			block := make([]byte, 4<<20)
			for i := range block {
				block[i] = byte(rand.Uint32())
			}
			b.SetBytes(int64(len(block)))
			b.ResetTimer()
			each(b, inFlight, func(i int64) error {
				_, err := d.WriteAt(block, i*int64(len(block))%imageSize)
				return err
			})
		})
	}
}

// BenchmarkRead reads as readers do: 8 kB anywhere in the image.
func BenchmarkRead(b *testing.B) {
	s := settings(cephtest.New(b))
	s.ShardMaxSize = imageSize / 2
	p := open(b, s)
	d, err := p.Create(b.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(b, err)
	for off := int64(0); off < imageSize; off += 4 << 20 {
		_, err := d.WriteAt(make([]byte, 4<<20), off)
		expect.NoError(b, err)
	}
	expect.NoError(b, d.Commit(b.Context()))
	img, err := p.OpenMapped(b.Context(), "one")
	expect.NoError(b, err)
	defer func() { expect.NoError(b, img.Close()) }()
	for _, goroutines := range []int{1, 8} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			each(b, goroutines, func(int64) error {
				_, err := img.ReadAt(make([]byte, 8192), rand.Int64N(imageSize-8192))
				return err
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
		})
	}
}

// each calls do b.N times from some goroutines, with the count of the call.
func each(b *testing.B, goroutines int, do func(i int64) error) {
	var next atomic.Int64
	errs := make(chan error)
	for range goroutines {
		go func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					errs <- nil
					return
				}
				if err := do(i); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for range goroutines {
		expect.NoError(b, <-errs)
	}
}
