// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/prometheus/procfs"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// size is that of a benchmark's shard, in bytes of content.
const size = 256 << 20

// BenchmarkPack packs a shard of source text, cut to objects of 3 kB in the
// median and 9 kB in the mean: written, flushed, read back and recorded.
// grown-MiB is by how much the process grew meanwhile, at most; the other metrics
// are seconds of CPU for each 10^9 bytes, of this process and of all processes of
// PostgreSQL's and Ceph's servers on this machine.
func BenchmarkPack(b *testing.B) {
	text := sourceText(b)
	b.Run("directory", func(b *testing.B) { benchmarkPack(b, roletest.New(b, roletest.Directory(b, "")), text) })
	b.Run("rbd", func(b *testing.B) {
		c := roletest.RBD(b)
		c.ShardMaxSize = size
		benchmarkPack(b, roletest.New(b, c), text)
	})
}

func benchmarkPack(b *testing.B, s *roletest.Stage, text []byte) {
	b.SetBytes(size)
	total := map[string]float64{}
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		fill(b, s, text, size, uint64(i))
		debug.FreeOSMemory()
		expect.NoError(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // resets VmHWM
		before, used := memory(b, "VmRSS"), cpu(b)
		b.StartTimer()
		worked, err := step(s)(b.Context())
		if err != nil || !worked {
			b.Fatal(worked, err)
		}
		b.StopTimer()
		b.ReportMetric(memory(b, "VmHWM")-before, "grown-MiB")
		for process, seconds := range cpu(b) {
			total[process] += seconds - used[process]
			b.ReportMetric(total[process]/float64(i+1)/(size/1e9), process+"-s/GB")
		}
		b.StartTimer()
	}
}

// cpu returns the seconds of CPU that this process and the servers have used.
func cpu(b *testing.B) map[string]float64 {
	all, err := procfs.AllProcs()
	expect.NoError(b, err)
	used := map[string]float64{}
	for _, p := range all {
		stat, err := p.Stat()
		if os.IsNotExist(err) {
			continue
		}
		expect.NoError(b, err)
		const tick = 0.01
		switch {
		case p.PID == os.Getpid():
			used["packer"] += stat.CPUTime()
		case stat.Comm == "postgres" || stat.Comm == "ceph-osd": // and those of its processes that have ended
			used[stat.Comm] += stat.CPUTime() + tick*float64(stat.CUTime+stat.CSTime)
		}
	}
	return used
}

// fill makes a full shard of about size bytes.
func fill(b *testing.B, s *roletest.Stage, text []byte, size int, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	claim, err := s.Base.CreateShard(b.Context(), s.Config.Name)
	expect.NoError(b, err)
	for size > 0 {
		batch := make([]sharedbase.Object, 200)
		for i := range batch {
			n := min(len(text)/2, int(3000*math.Exp(1.48*random.NormFloat64())))
			content := text[random.IntN(len(text)-n):][:n]
			batch[i] = sharedbase.Object{ID: sha256.Sum256(content), Content: content}
			size -= n
		}
		_, err := s.Base.Add(b.Context(), claim, batch)
		expect.NoError(b, err)
	}
	expect.NoError(b, claim.SetState(b.Context(), sharedbase.StateFull))
}

// sourceText is what Go's own source begins with.
func sourceText(b *testing.B) (text []byte) {
	expect.NoError(b, filepath.WalkDir(filepath.Join(runtime.GOROOT(), "src"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		if len(text) > 16<<20 {
			return fs.SkipAll
		}
		file, err := os.ReadFile(path)
		text = append(text, file...)
		return err
	}))
	return text
}

// memory reads a line of the process's status, in MiB.
func memory(b *testing.B, name string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	expect.NoError(b, err)
	_, value, _ := strings.Cut(string(status), name+":")
	var kib float64
	_, err = fmt.Sscanf(value, "%f kB", &kib)
	expect.NoError(b, err)
	return kib / 1024
}
