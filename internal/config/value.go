// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
	"go.yaml.in/yaml/v3"

	"winery/internal/yaml11"
)

// value is what a key, or an element of a list, has.
type value struct {
	report *report
	path   string     // such as objstorage.shards_pools[1].pool_name; "" for the root
	line   int        // of the key; of the nearest key above if this one is left out
	node   *yaml.Node // of a yaml11.Document
}

// absent is the node of a key that is left out.
var absent = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}

// setting is a key of a mapping, and what is done with its value.
type setting struct {
	name  string
	rules []rule
}

// rule stores or checks a value. It returns true if the value is good, or null: null means left out. It reports a bad
// value, and returns false; the rules that follow are not applied then.
type rule func(v value) bool

func key(name string, rules ...rule) setting { return setting{name, rules} }

// mapping reads a mapping: it applies the rules of the settings in their order, and reports all other keys.
func mapping(settings ...setting) rule {
	return func(v value) bool {
		if !v.isMapping() {
			return false
		}
		for _, s := range settings {
			v.apply(s)
		}
		var unknown []*yaml.Node
		for pair := range slices.Chunk(v.node.Content, 2) {
			if !slices.ContainsFunc(settings, func(s setting) bool { return s.name == pair[0].Value }) {
				unknown = append(unknown, pair[0])
			}
		}
		slices.SortFunc(unknown, func(a, b *yaml.Node) int { return cmp.Compare(a.Value, b.Value) })
		for _, k := range unknown {
			distance := func(s setting) int { return smetrics.WagnerFischer(k.Value, s.name, 1, 1, 1) }
			nearest := slices.MinFunc(settings, func(a, b setting) int { return distance(a) - distance(b) })
			v.report.fail(k.Line, v.get(yaml11.Shown(k.Value)).path, "unknown key; the nearest known one is "+nearest.name+": correct the name, or remove the key")
		}
		return true
	}
}

func (v value) isMapping() bool {
	return v.null() || v.is("!!map") || v.fail("found %s, must be a mapping", v.kind())
}

// apply applies the rules of a key of a mapping.
func (v value) apply(s setting) {
	child := v.get(s.name)
	for i := 0; i < len(s.rules) && s.rules[i](child); i++ {
	}
}

// get returns the value of a key of a mapping.
func (v value) get(name string) value {
	found := value{v.report, strings.TrimPrefix(v.path+"."+name, "."), v.line, absent}
	for pair := range slices.Chunk(v.node.Content, 2) {
		if pair[0].Value == name {
			found.line, found.node = pair[0].Line, pair[1]
		}
	}
	return found
}

// elements returns the elements of a list.
func (v value) elements() (elements []value) {
	for i, node := range v.node.Content {
		elements = append(elements, value{v.report, fmt.Sprintf("%s[%d]", v.path, i), node.Line, node})
	}
	return elements
}

func (v value) is(tag string) bool { return v.node.Tag == tag }

func (v value) null() bool { return v.is("!!null") }

// fail reports v, and returns false.
func (v value) fail(format string, args ...any) bool {
	v.report.fail(v.line, v.path, fmt.Sprintf(format, args...))
	return false
}

// reject reports v, with what it must be, and returns false.
func (v value) reject(want string) bool {
	found := v.kind()
	switch v.node.Tag {
	case "!!str":
		found = fmt.Sprintf("%q", v.node.Value)
	case "!!bool", "!!int", "!!float":
		var x any
		_ = v.node.Decode(&x) // yaml11 makes sure that it decodes
		found = fmt.Sprint(x)
	}
	return v.fail("found %s, must be %s", found, want)
}

// kind names what v is without showing it.
func (v value) kind() string {
	switch {
	case v.is("!!str") && v.node.Value == "":
		return "an empty string"
	case v.is("!!seq") && len(v.node.Content) == 0:
		return "an empty list"
	}
	return map[string]string{
		"!!null": "null", "!!str": "a string", "!!bool": "a boolean", "!!int": "a number", "!!float": "a number",
		"!!timestamp": "a date", "!!seq": "a list", "!!map": "a mapping",
	}[v.node.Tag]
}
