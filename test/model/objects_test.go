// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"crypto/sha256"
	"math/rand/v2"

	"pgregory.net/rapid"

	"winery/sharedbase"
)

// sizes are those of the objects: none, about a word and a block of hashing, and
// beyond what a reader asks for at once.
var sizes = []int{0, 1, 55, 64, 700, 4096, 20_000, 70_000}

// universe is every object there can be. There are few, so that a random life
// meets each of them often.
var universe = func() []sharedbase.Object {
	all := make([]sharedbase.Object, 20)
	for n := range all {
		content := make([]byte, sizes[n%len(sizes)]+n/len(sizes))
		_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(content) // never fails
		all[n] = sharedbase.Object{ID: sha256.Sum256(content), Content: content}
	}
	return all
}()

// ids are those of the universe.
var ids = func() []sharedbase.ObjID {
	all := make([]sharedbase.ObjID, len(universe))
	for n := range all {
		all[n] = universe[n].ID
	}
	return all
}()

// Numbers of objects are drawn, not objects, so that a failure shows them short.
var number = rapid.IntRange(0, len(universe)-1)

// one draws an object, some any number of them, with repetitions.
func one(t *rapid.T) sharedbase.Object { return universe[number.Draw(t, "object")] }

func some(t *rapid.T) (objects []sharedbase.Object) {
	for _, n := range rapid.SliceOfN(number, 0, 12).Draw(t, "objects") {
		objects = append(objects, universe[n])
	}
	return objects
}
