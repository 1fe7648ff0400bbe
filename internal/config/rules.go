// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// required reports a key that is left out, unless another setting makes it needless.
func required(want string, unless ...*bool) rule {
	return func(v value) bool {
		needless := slices.ContainsFunc(unless, func(set *bool) bool { return *set })
		return needless || !v.null() || v.fail("missing, must be %s", want)
	}
}

// together checks two settings that need each other.
func together[A, B comparable](a *A, b *B, names string) rule {
	return func(v value) bool {
		return (*a == *new(A)) == (*b == *new(B)) || v.fail("%s must be given together", names)
	}
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

const wantText = "a string that is not empty"

func nonEmpty(to *string) rule {
	return func(v value) bool { return text(to)(v) && (v.null() || v.node.Value != "" || v.reject(wantText)) }
}

// textThat checks a string.
func textThat(ok func(string) bool, want string) rule {
	return func(v value) bool { return v.null() || ok(v.node.Value) || v.reject(want) }
}

// secret reads a string that is not empty, and that no message may show.
func secret(to *string, want string) rule {
	return func(v value) bool {
		ok := v.is("!!str") && v.node.Value != "" && v.node.Decode(to) == nil
		return ok || v.null() || v.fail("found %s, must be %s", v.kind(), want)
	}
}

func enum(to *string, choices ...string) rule {
	return func(v value) bool {
		return v.null() || v.is("!!str") && slices.Contains(choices, v.node.Value) && v.node.Decode(to) == nil || v.reject(strings.Join(choices, " or "))
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
