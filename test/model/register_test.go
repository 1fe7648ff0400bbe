// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// call is a client's request about an object, and answer its result.
type call struct {
	object int
	what   string // add, get, contains or delete
}

// answer: yes of an add says that the object was new; of the others, that it
// was there. unknown is no answer.
type answer string

const (
	yes     answer = "yes"
	no      answer = "no"
	unknown answer = "unknown"
)

// register is what an object is: there or not. Each call is one step, and tells
// what was before it. A call without an answer may have happened at any
// time from its beginning on, or never: that is, after all that was seen.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byObject := map[int][]porcupine.Operation{}
		for _, op := range history {
			n := op.Input.(call).object
			byObject[n] = append(byObject[n], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byObject {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return false },
	Step: func(state, input, output any) (bool, any) {
		there, asked, told := state.(bool), input.(call), output.(answer)
		switch asked.what {
		case "add":
			return told == unknown || there == (told == no), true
		case "delete":
			return told == unknown || there == (told == yes), false
		default:
			return there == (told == yes), there
		}
	},
	DescribeOperation: func(input, output any) string {
		c := input.(call)
		return fmt.Sprintf("%s(%d): %s", c.what, c.object, output)
	},
	DescribeState: func(state any) string {
		return map[bool]string{true: "there", false: "absent"}[state.(bool)]
	},
}

// never is the end of a call that was not answered.
const never = math.MaxInt64

// linearizable fails the test, and draws a picture, unless some order explains
// the history.
func linearizable(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	result, info := porcupine.CheckOperationsVerbose(register, history, time.Minute)
	if result == porcupine.Ok {
		return
	}
	picture, err := os.CreateTemp("", "winery-history-*.html")
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	if err := porcupine.Visualize(register, info, picture); err != nil {
		t.Fatal(err)
	}
	t.Fatalf("no order explains the history (%s): see %s", result, picture.Name())
}

// TestRegisterRefuses: the checker tells a history that can be from one that
// cannot.
func TestRegisterRefuses(t *testing.T) {
	op := func(what string, told answer, began, ended int64) porcupine.Operation {
		return porcupine.Operation{Input: call{0, what}, Output: told, Call: began, Return: ended}
	}
	for name, c := range map[string]struct {
		history []porcupine.Operation
		can     bool
	}{
		"added, read, deleted, absent": {[]porcupine.Operation{
			op("add", yes, 0, 1), op("get", yes, 2, 3), op("delete", yes, 4, 5), op("get", no, 6, 7)}, true},
		"lost":                        {[]porcupine.Operation{op("add", yes, 0, 1), op("get", no, 2, 3)}, false},
		"back":                        {[]porcupine.Operation{op("add", yes, 0, 1), op("delete", yes, 2, 3), op("contains", yes, 4, 5)}, false},
		"stale, but at the same time": {[]porcupine.Operation{op("add", yes, 0, 5), op("get", no, 1, 2), op("get", yes, 3, 4)}, true},
		"there and away again":        {[]porcupine.Operation{op("add", yes, 0, 5), op("get", yes, 1, 2), op("get", no, 3, 4)}, false},
		"new twice":                   {[]porcupine.Operation{op("add", yes, 0, 3), op("add", yes, 1, 2)}, false},
		"deleted twice":               {[]porcupine.Operation{op("add", yes, 0, 1), op("delete", yes, 2, 5), op("delete", yes, 3, 4)}, false},
		"no answer, and it happened":  {[]porcupine.Operation{op("add", unknown, 0, never), op("get", no, 1, 2), op("get", yes, 3, 4)}, true},
		"no answer, and it did not":   {[]porcupine.Operation{op("add", unknown, 0, never), op("get", no, 1, 2)}, true},
		"no answer, and it happened twice": {[]porcupine.Operation{
			op("add", unknown, 0, never), op("get", yes, 1, 2), op("delete", yes, 3, 4), op("get", yes, 5, 6)}, false},
	} {
		if got := porcupine.CheckOperations(register, c.history); got != c.can {
			t.Errorf("%s: %v", name, got)
		}
	}
}
