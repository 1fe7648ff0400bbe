// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// construct turns a node into nil, bool, int64, float64, string, date, []any or
// map[string]any, as PyYAML's safe_load does, by YAML 1.1: yes is true, 010 is 8,
// 1:30 is 90, and 1e3 is a string. Of equal keys the last one counts; duplicate
// is called with it. A key is its text, also where Python makes a number of it.
func construct(node *yaml.Node, duplicate func(key *yaml.Node)) (any, error) {
	c := constructor{duplicate: duplicate, done: map[*yaml.Node]any{}, open: map[*yaml.Node]bool{}}
	return c.value(node)
}

// date is a date or time, of which no setting makes use.
type date string

type constructor struct {
	duplicate func(key *yaml.Node)
	done      map[*yaml.Node]any // an alias costs nothing: a file cannot grow in memory
	open      map[*yaml.Node]bool
}

func resolved(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func failure(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("yaml: line %d: %s", node.Line, fmt.Sprintf(format, args...))
}

func (c *constructor) value(node *yaml.Node) (v any, err error) {
	node = resolved(node)
	if v, ok := c.done[node]; ok {
		return v, nil
	}
	if c.open[node] {
		return nil, failure(node, "a value contains itself")
	}
	c.open[node] = true
	defer func() {
		c.open[node] = false
		c.done[node] = v
	}()
	switch node.Kind {
	case yaml.MappingNode:
		return c.mapping(node)
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, element := range node.Content {
			if list[i], err = c.value(element); err != nil {
				return nil, err
			}
		}
		return list, nil
	default:
		return scalar(node)
	}
}

func (c *constructor) mapping(node *yaml.Node) (map[string]any, error) {
	values := map[string]any{}
	for i := 0; i < len(node.Content); i += 2 {
		if isMerge(node.Content[i]) {
			if err := c.merge(values, node.Content[i+1]); err != nil {
				return nil, err
			}
		}
	}
	own := map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		key := resolved(node.Content[i])
		if isMerge(key) {
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return nil, failure(key, "a key is a list or a mapping")
		}
		if own[key.Value] {
			c.duplicate(node.Content[i])
		}
		own[key.Value] = true
		v, err := c.value(node.Content[i+1])
		if err != nil {
			return nil, err
		}
		values[key.Value] = v
	}
	return values, nil
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && key.Style == 0
}

// merge adds the pairs of a mapping, or of each mapping of a list. Of equal keys
// in a list the first one counts, as YAML has it (PyYAML's releases differ).
func (c *constructor) merge(into map[string]any, from *yaml.Node) error {
	from = resolved(from)
	sources := []*yaml.Node{from}
	if from.Kind == yaml.SequenceNode {
		sources = from.Content
	}
	for _, source := range sources {
		v, err := c.value(source)
		if err != nil {
			return err
		}
		pairs, ok := v.(map[string]any)
		if !ok {
			return failure(source, "only a mapping can be merged")
		}
		for key, v := range pairs {
			if _, ok := into[key]; !ok {
				into[key] = v
			}
		}
	}
	return nil
}

const quotedStyle = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

func scalar(node *yaml.Node) (any, error) {
	if node.Style&yaml.TaggedStyle == 0 {
		if node.Style&quotedStyle != 0 {
			return node.Value, nil
		}
		return plain(node.Value), nil
	}
	tag := node.ShortTag()
	if tag == "!" || tag == "!!str" {
		return node.Value, nil
	}
	v := plain(node.Value)
	ok := false
	switch tag {
	case "!!null":
		v, ok = nil, true
	case "!!bool":
		_, ok = v.(bool)
	case "!!int":
		_, ok = v.(int64)
	case "!!float":
		if whole, isWhole := v.(int64); isWhole {
			v = float64(whole)
		}
		_, ok = v.(float64)
	}
	if !ok {
		return nil, failure(node, "a value with the tag %q cannot be read", tag)
	}
	return v, nil
}

// The forms of YAML 1.1 that PyYAML takes for something other than a string.
var (
	nullForm  = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	trueForm  = regexp.MustCompile(`^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$`)
	falseForm = regexp.MustCompile(`^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$`)
	intForm   = regexp.MustCompile(`^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*(?::[0-5]?[0-9])*|0x[0-9a-fA-F_]+)$`)
	floatForm = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|` +
		`[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
	dateForm = regexp.MustCompile(`^[0-9]{4}-(?:[0-9]{2}-[0-9]{2}|[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}` +
		`(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)$`)
)

// plain is the value of a scalar without quotes and tag.
func plain(text string) any {
	switch {
	case nullForm.MatchString(text):
		return nil
	case trueForm.MatchString(text):
		return true
	case falseForm.MatchString(text):
		return false
	case floatForm.MatchString(text):
		return float(text)
	case intForm.MatchString(text):
		return integer(text)
	case dateForm.MatchString(text):
		return date(text)
	}
	return text
}

// sign splits a number without underscores into its sign and the rest.
func sign(text string) (factor int64, digits string) {
	digits = strings.ReplaceAll(text, "_", "")
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		return -1, rest
	}
	return 1, strings.TrimPrefix(digits, "+")
}

// integer is an int64, or a float64 where that is too small. Parts between
// colons are sexagesimal digits.
func integer(text string) any {
	factor, digits := sign(text)
	base := 10
	switch {
	case strings.HasPrefix(digits, "0b"):
		base, digits = 2, digits[2:]
	case strings.HasPrefix(digits, "0x"):
		base, digits = 16, digits[2:]
	case len(digits) > 1 && digits[0] == '0':
		base = 8
	}
	sum, digit := new(big.Int), new(big.Int)
	for part := range strings.SplitSeq(digits, ":") {
		if _, ok := digit.SetString(part, base); !ok {
			return text // underscores only
		}
		sum.Add(sum.Mul(sum, big.NewInt(60)), digit)
	}
	if sum.Mul(sum, big.NewInt(factor)); sum.IsInt64() {
		return sum.Int64()
	}
	n, _ := new(big.Float).SetInt(sum).Float64()
	return n
}

func float(text string) any {
	factor, digits := sign(strings.ToLower(text))
	switch digits {
	case ".inf":
		return math.Inf(int(factor))
	case ".nan":
		return math.NaN()
	}
	sum := 0.0
	for part := range strings.SplitSeq(digits, ":") {
		digit, err := strconv.ParseFloat(part, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return text
		}
		sum = sum*60 + digit
	}
	return float64(factor) * sum
}
