// SPDX-License-Identifier: GPL-3.0-or-later

package load

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
)

// IDs are the ids of objects that can be read. It may be used concurrently: readers
// may read what writers have just stored.
type IDs struct {
	mu  sync.Mutex
	all [][32]byte
}

// Add adds ids of objects that are stored.
func (s *IDs) Add(ids ...[32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, ids...)
}

// All returns the ids in the order in which they were added.
func (s *IDs) All() [][32]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// draw returns n of the ids at random.
func (s *IDs) draw(n int) ([][32]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return nil, errors.New("there is no object to read")
	}
	drawn := make([][32]byte, n)
	for i := range drawn {
		drawn[i] = s.all[rand.IntN(len(s.all))]
	}
	return drawn, nil
}
