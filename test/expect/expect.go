// SPDX-License-Identifier: GPL-3.0-or-later

// Package expect has what tests of every package expect: that a call succeeds, and
// that a condition becomes true. It ends the test otherwise.
package expect

import (
	"testing"
	"time"
)

// patience is how long a condition may take: longer than on the busiest machine.
const patience = time.Minute

// NoError ends the test if there is an error.
func NoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually polls a condition until it is true, and ends the test after a minute.
// what names the condition: "the queue to be empty".
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
