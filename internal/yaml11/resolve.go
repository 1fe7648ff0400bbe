// SPDX-License-Identifier: GPL-3.0-or-later

package yaml11

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// resolvers are the forms of a scalar that YAML 1.1, as PyYAML has it, takes for something other than a string; the first
// that matches counts. text returns the text from which the library decodes the same value.
var resolvers = []struct {
	tag  string
	form *regexp.Regexp
	text func(string) string
}{
	{"!!null", form(`~|null|Null|NULL|`), always("null")},
	{"!!bool", form(`yes|Yes|YES|true|True|TRUE|on|On|ON`), always("true")},
	{"!!bool", form(`no|No|NO|false|False|FALSE|off|Off|OFF`), always("false")},
	{"!!float", form(`[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)`), number},
	{"!!float", form(`[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*`), base60},
	{"!!int", form(`[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)`), number},
	{"!!int", form(`[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+`), base60},
	{"!!timestamp", form(`[0-9]{4}-([0-9]{2}-[0-9]{2}|[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}` +
		`(\.[0-9]*)?([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?)`), always("")}, // no setting is a date
}

func form(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(` + pattern + `)$`) }

func always(text string) func(string) string { return func(string) string { return text } }

func number(text string) string { return strings.ReplaceAll(text, "_", "") }

// base60 returns the decimal form of a sexagesimal number: 90 for 1:30.
func base60(text string) string {
	sum := 0.0
	for part := range strings.SplitSeq(strings.TrimLeft(number(text), "+-"), ":") {
		digit, _ := strconv.ParseFloat(part, 64) // no error but ErrRange, with infinity
		sum = sum*60 + digit
	}
	if text[0] == '-' {
		sum = -sum
	}
	return strconv.FormatFloat(sum, 'f', -1, 64)
}

// resolve gives a scalar its tag by YAML 1.1, and the text from which the library decodes its value. An integer that is too
// large becomes a float, and a float that is too large infinite.
func resolve(node *yaml.Node) error {
	tag, text, explicit := "!!str", node.Value, ""
	if node.Style&yaml.TaggedStyle != 0 {
		explicit = node.ShortTag()
	}
	for _, r := range resolvers {
		if (node.Style == 0 || explicit != "") && r.form.MatchString(node.Value) {
			tag, text = r.tag, r.text(node.Value)
			break
		}
	}
	switch {
	case explicit == "!", explicit == "!!str":
		tag, text = "!!str", node.Value
	case explicit == "!!null", explicit == "!!float" && tag == "!!int":
		tag = explicit
	case explicit != "" && explicit != tag:
		return failure(node, wrongTag(explicit))
	}
	node.Tag, node.Value, node.Style = tag, text, 0
	if tag == "!!int" && node.Decode(new(int64)) != nil {
		node.Tag, node.Value = "!!float", text+".0"
	}
	if node.Tag == "!!float" && node.Decode(new(float64)) != nil {
		node.Value = ".inf"
		if text[0] == '-' {
			node.Value = "-.inf"
		}
	}
	return nil
}

// standardTags are those of YAML 1.1 that resolve can refuse.
var standardTags = []string{"!!bool", "!!int", "!!float", "!!binary", "!!timestamp", "!!seq", "!!map", "!!set", "!!omap", "!!pairs"}

// wrongTag says that a value of that tag cannot be read. Another tag than a standard one
// is not shown: it may be a password without quotes.
func wrongTag(tag string) string {
	if !slices.Contains(standardTags, tag) {
		return `a value has an unknown tag: write a value that begins with "!" in quotes`
	}
	return "a value with the tag " + strconv.Quote(strings.TrimLeft(tag, "!")) + " cannot be read"
}
