// SPDX-License-Identifier: GPL-3.0-or-later

package yaml11

import (
	"strings"
	"testing"
)

// An error shows no word that may be a password: one that begins with an exclamation
// mark or an asterisk, without quotes, is a tag or an alias for YAML. The place and the
// cure help to find it.
func TestErrorsShowNoSecret(t *testing.T) {
	const quotes = `: write a value that begins with`
	for text, want := range map[string]string{
		"a: 1\nkey: !Secret123\n":                           `line 2: not valid YAML: a value has an unknown tag` + quotes + ` "!" in quotes`,
		"a: 1\nkey: !!Secret123\n":                          `line 2: not valid YAML: a value has an unknown tag` + quotes + ` "!" in quotes`,
		"key: !<Secret123> x\n":                             "line 1: not valid YAML: a value has an unknown tag",
		"%TAG !s! Secret123:\n---\nkey: !s!x y\n":           "line 3: not valid YAML: a value has an unknown tag",
		"key: !Secret123!x\n":                               "line 1: not valid YAML: found undefined tag handle",
		"a: 1\n# *Secret\nkey: *Secret123\n":                `line 3: not valid YAML: a value refers to an unknown anchor` + quotes + ` "*" in quotes`,
		"a: '*Secret1234'\nkey: [*Secret123]\n":             "line 2: not valid YAML: a value refers to an unknown anchor",
		"a: &a 1\nb: *a\nc:\n  - {d: *a, e: *Secret123}\n":  "line 4: not valid YAML: a value refers to an unknown anchor",
		"a: &a [1]\n*Secret123 : 1\n":                       "line 2: not valid YAML: a value refers to an unknown anchor",
		"a: !!int Secret123\n":                              `line 1: not valid YAML: a value with the tag "int" cannot be read`,
		"a: !<tag:yaml.org,2002:timestamp> Secret123\n":     `line 1: not valid YAML: a value with the tag "timestamp" cannot be read`,
		"a: [Secret123, 'Secret123\n":                       "not valid YAML: found unexpected end of stream",
		"a: [\"Secret123\" Secret123]\n":                    "not valid YAML: did not find expected",
		"a: &Secret123 [*Secret123]\n":                      "line 1: not valid YAML: a value contains itself",
		"Secret123: &Secret123\n  - Secret123\n <<: Secret": "not valid YAML: ",
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) && (strings.HasPrefix(want, "line ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "Secret") {
			t.Errorf("%q: the error shows it: %v", text, err)
		}
	}
}
