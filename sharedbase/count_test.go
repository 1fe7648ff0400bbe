// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
)

func TestCountByState(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked, objects("a", "b", "c", "d", "e")...)
	for _, o := range objects("b", "c") {
		expect.NoError(t, b.Delete(t.Context(), o.ID))
	}
	shardIn(t, b, sharedbase.StateStandby, object("c")) // added again
	exec(t, conn, "UPDATE signature2shard SET state = 'inflight' WHERE signature = $1", ids(object("e"))[0][:])
	if n := must(b.CountByState(t.Context(), s.ID))(t); n != (sharedbase.ObjectCounts{Present: 2, Deleted: 1, InFlight: 1, Noted: 1}) {
		t.Errorf("counted %+v", n)
	}
}
