// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

func required(want string) rule {
	return func(v value) bool { return !v.null() || v.fail("missing, must be %s", want) }
}

// obsolete warns of a key that is given.
func obsolete(msg string) rule {
	return func(v value) bool {
		if !v.null() {
			v.report.warn(v.line, v.path, msg)
		}
		return true
	}
}

// boolean refuses null, because Python takes it for false also where the default is true.
func boolean(to *bool) rule {
	return func(v value) bool {
		return v.node == absent || v.is("!!bool") && v.node.Decode(to) == nil || v.reject("true or false")
	}
}

func text(to *string) rule {
	return func(v value) bool {
		return v.null() || v.is("!!str") && v.node.Decode(to) == nil || v.reject("a string")
	}
}

// textThat checks a string.
func textThat(ok func(string) bool, want string) rule {
	return func(v value) bool { return v.null() || ok(v.node.Value) || v.reject(want) }
}

// secret reads a string that is not empty, and that no message may show.
func secret(to *string, want string) rule {
	return func(v value) bool {
		ok := v.is("!!str") && v.node.Value != "" && v.node.Decode(to) == nil
		return ok || v.fail("found %s, must be %s", v.kind(), want)
	}
}

func (v value) isOneOf(choices []string) bool {
	return v.is("!!str") && slices.Contains(choices, v.node.Value)
}

func enum(to *string, choices ...string) rule {
	return func(v value) bool {
		return v.null() || v.isOneOf(choices) && v.node.Decode(to) == nil || v.reject(strings.Join(choices, " or "))
	}
}

// enums reads a list whose elements are choices. refused has, for each word that is no
// choice but may be expected to be one, what it must be.
func enums(to *[]string, refused map[string]string, choices ...string) rule {
	return func(v value) bool {
		if !v.null() && !v.is("!!seq") {
			return v.reject("a list")
		}
		for _, element := range v.elements() {
			if !element.isOneOf(choices) {
				element.reject(cmp.Or(refused[element.node.Value], "one of "+strings.Join(choices, ", ")))
			}
			*to = append(*to, element.node.Value)
		}
		return true
	}
}

func (v value) number() (n float64, ok bool) {
	ok = (v.is("!!int") || v.is("!!float")) && v.node.Decode(&n) == nil
	return n, ok
}

// integer reads a whole number from low to high.
func integer(to *int, low, high int) rule {
	return func(v value) bool {
		n, ok := v.number()
		if ok = ok && n == math.Trunc(n) && n >= float64(low) && n <= float64(high); ok {
			*to = int(n)
		}
		return ok || v.null() || v.reject(fmt.Sprintf("a whole number from %d to %d", low, high))
	}
}

// size reads a number of bytes from 1 to high, plain or with a unit. A comma is refused: it may stand for a point.
func size(to *int64, high int64) rule {
	return func(v value) bool {
		n, ok := v.number()
		if v.is("!!str") {
			bytes, err := humanize.ParseBytes(v.node.Value)
			n, ok = float64(bytes), err == nil && !strings.Contains(v.node.Value, ",")
		}
		if ok = ok && n == math.Trunc(n) && n >= 1 && n <= float64(high); ok {
			*to = int64(n)
		}
		return ok || v.null() || v.reject(fmt.Sprintf("a number of bytes from 1 to %d (%s), such as 104857600 or 100MiB",
			high, humanize.IBytes(uint64(high))))
	}
}

// duration reads a number of seconds from low to high, plain or with units. It is greater than 0 in any case.
func duration(to *time.Duration, low, high time.Duration) rule {
	want := fmt.Sprintf("a number of seconds from %v to %v, such as 90, 90s or 1m30s", low.Seconds(), high.Seconds())
	if low == 0 {
		want = "a number of seconds greater than 0, such as 90, 90s or 1m30s"
	}
	return func(v value) bool {
		n, ok := v.number()
		d := time.Duration(n * float64(time.Second))
		if v.is("!!str") {
			var err error
			d, err = time.ParseDuration(v.node.Value)
			n, ok = d.Seconds(), err == nil
		}
		if ok = ok && d > 0 && n >= low.Seconds() && n <= high.Seconds(); ok {
			*to = d
		}
		return ok || v.null() || v.reject(want)
	}
}
