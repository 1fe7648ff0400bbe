// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"slices"
	"testing"

	"winery/test/roletest"
)

// moment is a place between two operations of a process.
type moment struct {
	halt roletest.Halt
	name string
}

// alike are operations that follow one another: the first and one in the middle
// will do, and the place after the last is the one before what comes next.
var alike = []roletest.Point{roletest.Read, roletest.Write, roletest.Erase, "Content"}

// moments lists the places on a process's way. After one operation and before
// the next is one place.
func moments(way []roletest.Point) (all []moment) {
	total, nth := map[roletest.Point]int{}, map[roletest.Point]int{}
	for _, p := range way {
		total[p]++
	}
	for i, p := range way {
		nth[p]++
		m := moment{halt: roletest.Halt{Point: p, Nth: nth[p]}}
		m.name = m.halt.String()
		switch op, isAfter := p.After(); {
		case isAfter:
			if i+1 < len(way) && !follows(way[i+1]) || slices.Contains(alike, op) {
				continue
			}
		case slices.Contains(alike, p) && nth[p] != 1 && nth[p] != (total[p]+1)/2:
			continue
		case i > 0 && follows(way[i-1]):
			m.name = string(way[i-1]) + ", before " + m.name
		default:
			m.name = "before " + m.name
		}
		all = append(all, m)
	}
	return all
}

func follows(p roletest.Point) bool {
	_, isAfter := p.After()
	return isAfter
}

func TestMoments(t *testing.T) {
	var names []string
	for _, m := range moments([]roletest.Point{
		"begin", "after begin", "write", "after write", "write", "write", "after write", "after write", "commit", "after commit",
	}) {
		names = append(names, m.name)
	}
	want := []string{
		"before begin", "after begin, before write", "after write, before write #2", "after write, before commit", "after commit",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
}
