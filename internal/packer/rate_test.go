// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"winery/internal/pace"
	"winery/internal/packer"
	"winery/internal/progress"
	"winery/test/roletest"
)

// TestRate: contents are written, and the image is read back, no faster than the rate.
func TestRate(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	s.Full(t, roletest.Objects(1, 80, 400_000))
	content := roletest.Objects(1, 80, 400_000)
	var bytes int
	for _, o := range content {
		bytes += len(o.Content)
	}
	const speed, burst = 8 << 20, 4 << 20
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, Rate: pace.NewRate(speed)})
	began := time.Now()
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	minTime := time.Duration(2*bytes-burst) * time.Second / speed
	if took := time.Since(began); minTime < time.Second || took < minTime {
		t.Errorf("%d bytes took %v, want at least %v", bytes, took, minTime)
	}
}

// TestRateOfUploads: an image that is uploaded is sent, and read back from the store, no
// faster than the rate.
func TestRateOfUploads(t *testing.T) {
	s := roletest.New(t, roletest.S3(t))
	objects := roletest.Objects(1, 80, 40_000)
	name := s.Full(t, objects)
	content := 0.
	for _, o := range objects {
		content += float64(len(o.Content))
	}
	limit := rate.NewLimiter(1e-6, 1<<30) // so that what was taken of it can be counted
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, Rate: limit})
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	image := float64(s.Image(t, name).Info().Size) // about as large as the contents, which are random
	if took := 1<<30 - limit.Tokens(); took < content+3*image-1e5 {
		t.Errorf("it took %.0f bytes of the rate; the contents have %.0f, the image has %.0f", took, content, image)
	}
}

// TestDiagnosis: the search for damaged rows, which may take as long as packing, reports
// its progress and keeps the rate.
func TestDiagnosis(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 100, 20_000)
	size := 0.
	for _, o := range objects {
		size += float64(len(o.Content))
	}
	objects[7].ID = sha256.Sum256([]byte("id"))
	name := s.Full(t, objects)
	limit := rate.NewLimiter(1e-6, 1<<30) // so that what was taken of it can be counted
	before := 0.
	s.Pool.At = func(point roletest.Point, _ string) error {
		if point == roletest.Abort { // what follows is the diagnosis
			before = limit.Tokens()
		}
		return nil
	}
	var during []progress.Report
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, Rate: limit, Progress: func(r progress.Report) {
		if before > 0 {
			during = append(during, r)
		}
	}})
	if _, err := p.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "the table is damaged") {
		t.Fatal(err)
	}
	s.WantQuarantined(t, "1 objects have a checksum mismatch", name)
	if len(during) == 0 || during[0].Task != packer.Diagnosing || during[0].Shard != name {
		t.Errorf("reports of the diagnosis: %v", during)
	}
	if took := before - limit.Tokens(); took < size-1 {
		t.Errorf("it took %.0f bytes of the rate, want %.0f", took, size)
	}
}
