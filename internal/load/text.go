// SPDX-License-Identifier: GPL-3.0-or-later

package load

import (
	"math/rand/v2"
	"sync"
)

const (
	textSize   = 16 << 20
	vocabulary = 2000
)

// text returns text that compresses like source code: lines of indented words, of
// which some are much more frequent than others.
var text = sync.OnceValue(func() []byte {
	random := rand.New(rand.NewPCG(1, 1))
	words := make([]string, vocabulary)
	for i := range words {
		words[i] = word(random)
	}
	frequent := rand.NewZipf(random, 1.1, 2, vocabulary-1)
	all := make([]byte, 0, textSize)
	for len(all) < textSize {
		for range random.IntN(4) {
			all = append(all, '\t')
		}
		for range 1 + random.IntN(8) {
			all = append(all, words[frequent.Uint64()]...)
			all = append(all, " .,()="[random.IntN(6)])
		}
		all = append(all, '\n')
	}
	return all[:textSize]
})

func word(random *rand.Rand) string {
	letters := make([]byte, 2+random.IntN(9))
	for i := range letters {
		letters[i] = "etaoinshrdlucmfw"[random.IntN(16)]
	}
	return string(letters)
}
