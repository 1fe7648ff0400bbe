// SPDX-License-Identifier: GPL-3.0-or-later

package objects

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// span is a part of an object, in bytes.
type span struct{ from, length int64 }

// errUnsatisfiable is returned where no range of a Range header has a byte of the object.
var errUnsatisfiable = errors.New("no range overlaps the object")

// maxRanges is how many ranges one request may ask for. With more of them the
// whole object is answered.
const maxRanges = 16

// parseRange returns the parts that a Range header's value asks for of an
// object of size bytes. Without parts and error the header is to be ignored, as
// RFC 9110, section 14.2, allows: where its unit or text is not understood,
// where the object is empty, and where the parts are more than the object.
func parseRange(value string, size int64) ([]span, error) {
	unit, set, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return nil, nil
	}
	var parts []span
	ranges, total := 0, int64(0)
	for text := range strings.SplitSeq(set, ",") {
		if text = strings.Trim(text, " \t"); text == "" {
			continue // an empty element of a list
		}
		s, valid := parseSpan(text, size)
		if ranges++; !valid || ranges > maxRanges {
			return nil, nil
		}
		if s.length > 0 {
			parts = append(parts, s)
			total += s.length
		}
	}
	switch {
	case ranges == 0, size == 0, total > size:
		return nil, nil
	case len(parts) == 0:
		return nil, errUnsatisfiable
	}
	return parts, nil
}

// parseSpan reads FIRST-LAST, FIRST- or -LENGTH. A part that has no byte of the
// object has length 0.
func parseSpan(text string, size int64) (s span, valid bool) {
	first, last, ok := strings.Cut(text, "-")
	if !ok || !areDigits(first) || !areDigits(last) || first == "" && last == "" {
		return s, false
	}
	if first == "" {
		length := min(number(last), size)
		return span{size - length, length}, true
	}
	from, to := number(first), int64(math.MaxInt64)
	if last != "" {
		to = number(last)
		if isLess(last, first) {
			return s, false
		}
	}
	if from >= size {
		return span{from: size}, true
	}
	return span{from, min(to, size-1) - from + 1}, true
}

func areDigits(text string) bool { return strings.Trim(text, "0123456789") == "" }

// isLess compares numbers that may be too large for an integer.
func isLess(a, b string) bool {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return len(a) < len(b) || len(a) == len(b) && a < b
}

// number returns the value of digits, or the largest number for one that is larger.
func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return math.MaxInt64
	}
	return n
}
