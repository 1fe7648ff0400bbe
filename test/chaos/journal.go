// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
)

// op is what a client asked for.
type op string

const (
	add    op = "add"
	remove op = "delete"
)

// event is one request for one object.
type event struct {
	op      op
	began   time.Duration // since the journal's beginning
	ended   time.Duration
	known   bool // it was acknowledged; else it may have happened, or may happen yet
	through int  // number of the writer that got the request
}

// entry is all that happened to an object, in its order.
type entry struct {
	size   int
	events []event
}

// expectation is what a read of an object must find.
type expectation int

const (
	either expectation = iota
	present
	absent
)

// Journal remembers every request that changes an object. Requests for one
// object must come one after the other; those for several may come at once.
type Journal struct {
	began time.Time

	mu       sync.Mutex
	objects  map[sharedbase.ObjID]*entry
	findings []finding
	seen     map[sharedbase.ObjID]bool // which of them have a finding
}

func newJournal() *Journal {
	return &Journal{began: time.Now(), objects: map[sharedbase.ObjID]*entry{}, seen: map[sharedbase.ObjID]bool{}}
}

// record notes how a request ended that was sent at began.
func (j *Journal) record(id sharedbase.ObjID, size int, what op, through int, began time.Time, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.objects[id]
	if e == nil {
		e = &entry{size: size}
		j.objects[id] = e
	}
	e.events = append(e.events, event{what, began.Sub(j.began), time.Since(j.began), known, through})
}

// expected is the state after the last acknowledged request, unless a request of
// the other kind may have been executed after it: a request whose answer was lost
// can wait in a stopped process until that process continues.
func (e *entry) expected() expectation {
	last := op("")
	doubtful := map[op]bool{}
	for _, ev := range e.events {
		if ev.known {
			last = ev.op
		} else {
			doubtful[ev.op] = true
		}
	}
	switch {
	case last == add && !doubtful[remove]:
		return present
	case last == remove && !doubtful[add]:
		return absent
	default:
		return either
	}
}

// verdict is what is wrong with an object.
type verdict string

const (
	lost       verdict = "acknowledged object lost"
	wrong      verdict = "wrong bytes"
	undead     verdict = "deleted object readable"
	unreadable verdict = "object not readable in the end"
)

type finding struct {
	what    verdict
	details string
}

// check compares an answer to a get of an object with what must have been
// answered, and keeps the first finding for each object. Errors that say
// nothing about the object pass.
func (j *Journal) check(id sharedbase.ObjID, content []byte, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.objects[id]
	want := e.expected()
	switch {
	case err == nil && sha256.Sum256(content) != id, errors.Is(err, client.ErrCorrupted):
		j.find(wrong, id, fmt.Sprintf("%d bytes came, %v", len(content), err))
	case err == nil && want == absent:
		j.find(undead, id, "it was read")
	case errors.Is(err, client.ErrNotFound) && want == present:
		j.find(lost, id, err.Error())
	}
}

// find adds a finding. The caller holds mu.
func (j *Journal) find(what verdict, id sharedbase.ObjID, why string) {
	if j.seen[id] {
		return
	}
	j.seen[id] = true
	var b strings.Builder
	e := j.objects[id]
	fmt.Fprintf(&b, "%x (%d bytes) at %.3f s: %s; ", id, e.size, time.Since(j.began).Seconds(), why)
	for i, ev := range e.events {
		answer := map[bool]string{true: "acknowledged", false: "no answer"}[ev.known]
		fmt.Fprintf(&b, "%s%s by writer %d, %.3f–%.3f s: %s", map[bool]string{true: ", "}[i > 0], ev.op, ev.through, ev.began.Seconds(), ev.ended.Seconds(), answer)
	}
	j.findings = append(j.findings, finding{what, b.String()})
}

// count is how many objects have the verdict.
func (j *Journal) count(what verdict) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.findings {
		if f.what == what {
			n++
		}
	}
	return n
}

// totals of the load.
type totals struct {
	Objects, Deletes, ReAdds, Doubtful int
	Bytes                              int64
}

func (j *Journal) totals() (t totals) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.objects {
		added, deleted := false, false
		for _, ev := range e.events {
			switch {
			case !ev.known:
				t.Doubtful++
			case ev.op == remove:
				t.Deletes++
				deleted = true
			case deleted:
				t.ReAdds++
				deleted = false
			default:
				added = true
			}
		}
		if added {
			t.Objects++
			t.Bytes += int64(e.size)
		}
	}
	return t
}

// ids are all objects with at least one request.
func (j *Journal) ids() []sharedbase.ObjID {
	j.mu.Lock()
	defer j.mu.Unlock()
	ids := make([]sharedbase.ObjID, 0, len(j.objects))
	for id := range j.objects {
		ids = append(ids, id)
	}
	return ids
}
