// SPDX-License-Identifier: GPL-3.0-or-later

// Package corrupt damages bytes, for tests of what reads them.
package corrupt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// SeedEnv is the environment variable that repeats a run of a failed test.
const SeedEnv = "WINERY_TEST_SEED"

// Random is a source of numbers that logs its seed, for a failure to be repeated.
func Random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(SeedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", SeedEnv, err)
		}
	}
	t.Logf("%s=%d repeats this", SeedEnv, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Mutate returns another version of data, which must not be empty: with a bit
// flipped, a byte changed, its end cut off, or a run of it left out or doubled;
// and says what was done.
func Mutate(random *rand.Rand, data []byte) (mutated []byte, what string) {
	at := random.IntN(len(data))
	run := 1 + random.IntN(min(len(data)-at, 40))
	switch random.IntN(6) {
	case 0, 1:
		mutated, what = bytes.Clone(data), "a bit flipped"
		mutated[at] ^= 1 << random.IntN(8)
	case 2:
		mutated, what = bytes.Clone(data), "another byte"
		mutated[at] += byte(1 + random.IntN(255))
	case 3:
		mutated, what = bytes.Clone(data[:at]), "the end cut off"
	case 4:
		mutated, what = slices.Concat(data[:at], data[at+run:]), fmt.Sprintf("%d bytes left out", run)
	default:
		mutated, what = slices.Concat(data[:at+run], data[at:]), fmt.Sprintf("%d bytes doubled", run)
	}
	return mutated, fmt.Sprintf("%s at %d of %d", what, at, len(data))
}
