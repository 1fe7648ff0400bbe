// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// BenchmarkStart is the first step of a mapper that finds 5,000 images: mapped
// and recorded already, as after a restart; mapped only, as on a new host; and
// neither, as after a reboot.
func BenchmarkStart(b *testing.B) {
	s := roletest.New(b, roletest.Directory(b, ""))
	names := manyImages(b, s, 5000)
	b.Run("restart", func(b *testing.B) {
		firstSteps(b, s, "host", func() {})
	})
	b.Run("new-host", func(b *testing.B) {
		host := 0
		for b.Loop() {
			host++
			_, err := onHost(s, fmt.Sprint("host", host)).Step(b.Context())
			expect.NoError(b, err)
		}
	})
	b.Run("reboot", func(b *testing.B) {
		firstSteps(b, s, "host", func() {
			for _, name := range names {
				expect.NoError(b, s.Pool.Unmap(b.Context(), name))
			}
		})
	})
}

// firstSteps takes the first step of a new mapper again and again.
func firstSteps(b *testing.B, s *roletest.Stage, host string, before func()) {
	_, err := onHost(s, host).Step(b.Context())
	expect.NoError(b, err)
	for b.Loop() {
		b.StopTimer()
		before()
		b.StartTimer()
		_, err := onHost(s, host).Step(b.Context())
		expect.NoError(b, err)
	}
}

// manyImages makes n packed shards with the same objects in their images.
func manyImages(b *testing.B, s *roletest.Stage, n int) (names []string) {
	dir := filepath.Join(s.Config.BaseDirectory, s.Config.Name)
	first := packed(b, s, 1)[0]
	image, err := os.ReadFile(filepath.Join(dir, first))
	expect.NoError(b, err)
	for range n {
		claim, err := s.Base.CreateShard(b.Context(), s.Config.Name)
		expect.NoError(b, err)
		expect.NoError(b, claim.SetState(b.Context(), sharedbase.StateFull))
		claim, err = s.Base.LockOneShard(b.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{Name: claim.Name()})
		expect.NoError(b, err)
		expect.NoError(b, os.WriteFile(filepath.Join(dir, claim.Name()), image, 0o400))
		expect.NoError(b, claim.SetState(b.Context(), sharedbase.StatePacked))
		names = append(names, claim.Name())
	}
	return names
}
