// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// section is a mapping under a path. A key is known once it has been asked for;
// done then reports the ones that nobody asked for. A key whose value is null
// counts as left out, except for booleans, where Python takes null for false.
type section struct {
	*reader
	path   string
	values map[string]any
	known  []string
}

func (s *section) key(name string) string {
	if s.path == "" {
		return name
	}
	return s.path + "." + name
}

// value takes a key's value, nil if it is left out.
func (s *section) value(name string) any {
	s.known = append(s.known, name)
	return s.values[name]
}

// reject reports a value; may says what it may be.
func (s *section) reject(name string, found any, may string) {
	s.fail(s.key(name), "found %s, must be %s", describe(found), may)
}

// require reports a key that is left out; the key is known either way.
func (s *section) require(name, may string) bool {
	if s.value(name) == nil {
		s.fail(s.key(name), "missing, must be %s", may)
		return false
	}
	return true
}

// text takes a string.
func (s *section) text(name, without string) string {
	v := s.value(name)
	if v == nil {
		return without
	}
	text, ok := v.(string)
	if !ok {
		s.reject(name, v, "a string")
		return without
	}
	return text
}

// word takes a string that must not be empty.
func (s *section) word(name, without string) string {
	text := s.text(name, without)
	if text == "" && s.values[name] == "" {
		s.reject(name, text, "a string that is not empty")
	}
	return text
}

// choice takes one of several words.
func (s *section) choice(name, without string, choices ...string) string {
	v := s.value(name)
	if v == nil {
		return without
	}
	text, _ := v.(string)
	if !slices.Contains(choices, text) {
		s.reject(name, v, strings.Join(choices, " or "))
		return without
	}
	return text
}

// truth takes a boolean.
func (s *section) truth(name string, without bool) bool {
	v := s.value(name)
	if _, given := s.values[name]; !given {
		return without
	}
	truth, ok := v.(bool)
	if !ok {
		s.reject(name, v, "true or false")
		return without
	}
	return truth
}

// whole takes a whole number from low to high.
func (s *section) whole(name string, without, low, high int64, unit string) int64 {
	v := s.value(name)
	if v == nil {
		return without
	}
	n, ok := wholeNumber(v)
	if !ok || n < low || n > high {
		s.reject(name, v, fmt.Sprintf("a whole number%s from %d to %d", unit, low, high))
		return without
	}
	return n
}

// size takes a number of bytes from 1 to high, plain or with a unit.
func (s *section) size(name string, without, high int64) int64 {
	v := s.value(name)
	if v == nil {
		return without
	}
	n, ok := wholeNumber(v)
	if text, isText := v.(string); isText {
		bytes, err := humanize.ParseBytes(text)
		n, ok = int64(bytes), err == nil && bytes <= math.MaxInt64
	}
	if !ok || n < 1 || n > high {
		s.reject(name, v, fmt.Sprintf("a number of bytes from 1 to %d (%s), such as 104857600 or 100MiB", high, humanize.IBytes(uint64(high))))
		return without
	}
	return n
}

// seconds takes a number of seconds > 0, whole or not.
func (s *section) seconds(name string, without float64) float64 {
	v := s.value(name)
	if v == nil {
		return without
	}
	n, ok := v.(float64)
	if i, isInt := wholeNumber(v); isInt {
		n, ok = float64(i), true
	}
	const most = 1e9 // still fits a time.Duration
	if !ok || !(n > 0 && n <= most) {
		s.reject(name, v, "a number of seconds greater than 0")
		return without
	}
	return n
}

// words takes a list, each of whose elements is one of the choices.
func (s *section) words(name string, choices []string) []string {
	var words []string
	list, ok := s.value(name).([]any)
	if !ok && s.values[name] != nil {
		s.reject(name, s.values[name], "a list")
	}
	for i, v := range list {
		word, ok := v.(string)
		if !ok || !slices.Contains(choices, word) {
			s.reject(fmt.Sprintf("%s[%d]", name, i), v, "one of "+strings.Join(choices, ", "))
			continue
		}
		words = append(words, word)
	}
	return words
}

// section takes a mapping; an empty one if it is left out.
func (s *section) section(name string) *section {
	return s.sub(name, s.value(name))
}

// sub makes v, found under name, a section.
func (s *section) sub(name string, v any) *section {
	values, ok := v.(map[string]any)
	if v != nil && !ok {
		s.fail(s.key(name), "found %s, must be a mapping", kind(v))
	}
	if v == nil {
		values = map[string]any{}
	}
	return &section{reader: s.reader, path: s.key(name), values: values}
}

// done reports the keys that nobody asked for.
func (s *section) done() {
	for _, name := range slices.Sorted(maps.Keys(s.values)) {
		if slices.Contains(s.known, name) {
			continue
		}
		nearest := slices.MinFunc(s.known, func(a, b string) int { return distance(name, a) - distance(name, b) })
		node, line := s.locate(s.path)
		if node != nil {
			if key, _ := find(resolved(node), name); key != nil {
				line = key.Line // its text may have dots, and so is no path
			}
		}
		s.errs = append(s.errs, &Error{File: s.file, Line: line, Key: s.key(shown(name)), Msg: "unknown key; the nearest known one is " + nearest})
	}
}

// wholeNumber gives v's value if it is a whole number that an int64 holds.
func wholeNumber(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<63
	}
	return 0, false
}

// describe shows a scalar and names the kind of anything else.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case bool, int64, float64:
		return fmt.Sprint(v)
	}
	return kind(v)
}

// kind names what v is without showing it.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		if v == "" {
			return "an empty string"
		}
		return "a string"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	return "something else"
}

// distance is the number of letters to add, remove or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
