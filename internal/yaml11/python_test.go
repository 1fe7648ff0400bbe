// SPDX-License-Identifier: GPL-3.0-or-later

package yaml11

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// documents are what PyYAML and this package must read in the same way.
var documents = []string{
	"", "a", "[]", "{}", "# a comment\n",
	"a: 1", "\ufeffa: 1\n", "\ufeff# comment\na: 1\n", "\ufeff%YAML 1.1\n---\na: 1\n",
	"%YAML 1.1\n---\na: 1\n", "%YAML 1.2\n---\na: 1\n", "# comment\n%YAML 1.2 # comment\n---\na: 1\n", "%YAML 2.0\n---\na: 1\n", "%YAML 1.1\n---\na: 1\n...\n", "%TAG ! tag:x,2000:\n---\na: 1\n",
	"---\na: 1\n", "---\na: 1\n...\n", "a: 1\n...\n", "---\n", "...\n", "--- # comment\na: 1\n", "--- {a: 1}\n",
	"a: 1\n---\n", "a: 1\n---\nb: 2\n", "a: 1\n...\n---\nb: 2\n", "a: 1\n...\nb: 2\n", "---\n---\na: 1\n",
	"a: 1\r\nb:\r\n  - x\r\n  - y\r\n", "a: |\r\n  x\r\n  y\r\n", "a: \"x\r\n  y\"\r\n", "a: 1\rb: 2\r",
	"a: 1\t\n", "a: [1,\t2]\n", "a:\n\t- 1\n", "\ta: 1\n", "a: 'x\ty'\n", "a: x\ty\n", "a: 1 \t # comment\n",
	"a: 1\na: 2\n", "a: 1\nb: 2\n'a': 3\n", "{a: 1, a: 2}", "a: {b: 1}\na: {c: 2}\n",
	"a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", "a: &x {b: 1}\nd: {c: 3, <<: *x, b: 2}\n", "a: &x {b: 1}\nd:\n  b: 2\n  <<: *x\n",
	"a: &x {b: 1}\ny: &y {c: 3}\nd: {<<: [*x, *y]}\n", "a: &x {b: 1}\ny: &y {<<: *x, c: 3}\nd: {<<: *y}\n",
	"a: {<<: {b: 1}}", "a: {'<<': 1}", "a: {<<: 1}", "a: {<<: [1]}", "a: &x [1]\nb: *x\n", "a: &x 1\nb: *x\n", "a: *x\n",
	"a: [0, 1, -1, +1, 12345678901, 1_000, 0_1, 107_374_182_400]",
	"a: [9223372036854775807, 9223372036854775808, 18446744073709551615, 18446744073709551616, 1.0e+400, -1.0e+400]",
	"a: [010, -010, 0777, 08, 0o17, 0x1F, 0X1F, 0xf_f, 0b101, 0b1_0, 0b2, -0x10, 00, -0]",
	"a: [1:30, 1:30:15, 190:20:30, -1:30, 1:60, 01:30, 1:3.5, 0:0:1.5, 12:30:45]",
	"a: [1.5, 1., .5, -1.5, +.5, 1e3, 1.0e3, 1.0e+3, 1.0e-3, 1.5E+3, 1_0.5, .5e+1, -.5, 1.e+3, 99999999999999999999]",
	"a: [.inf, -.inf, +.Inf, .INF, inf, nan, Infinity]",
	"a: [yes, Yes, YES, no, No, NO, on, On, ON, off, Off, OFF, true, True, TRUE, false, False, FALSE, y, n, Y, N, tRue, yEs]",
	"a: ['yes', \"no\", '1', \"1.5\", '~', \"\"]", "a: [~, null, Null, NULL, nUll]", "a:\nb: \nc: ~\n", "a: [none, None, nil]",
	"a: [2001-12-14, 2001-12-14t21:59:43.10-05:00, 2001-12-14 21:59:43.10 -5, 2001-1-1, 2001-01-01 1:00:00]",
	"a: !!str 1\nb: !!int '7'\nc: !!float 1\nd: !!bool 'yes'\ne: !!null ''\nf: ! 1\n", "a: !wibble 1", "a: !!int x", "a: !!str yes",
	"a: |\n  x\n  y\n", "a: >\n  x\n  y\n\n  z\n", "a: |-\n  x\n", "a: |+\n  x\n\n", "a: >-\n  1\n", "a: |2\n    x\n",
	"a: x\n  y\n", "a: 'x''y'", "a: \"x\\ty\\u00e9\\x41\"", "a: x #y", "a: x#y", "a: x: y", "a: {b: c: d}", "a: b:c", "a: http://h:1/x",
	"a: [b, c", "a: }", "a: %x", "a: @x", "a: `x`", "a: \"x", "a: 'x", "? a\n: 1\n", "? [a]\n: 1\n", "{[a]: 1}", "{{a: b}: 1}",
	"- a\n- b: 1\n  c: 2\n-\n  - d\n", "a:\n- b\n- c\n", "a:\n  b: 1\n c: 2\n", " a: 1\n b: 2\n", "a: &x\n", "a: -", "a: - b", "a: 1,000",
	"1: a\n", "1.5: a\n", "é: ü\n", "a: \u2028b\n", "a: b\u00a0c\n", "a: \x01\n", "a: \U0001f377\n",
}

// TestPython compares what this package makes of each document with PyYAML.
// What PyYAML refuses may be read here, where that is harmless: tabs.
func TestPython(t *testing.T) {
	for i, python := range safeLoad(t, documents) {
		got, err := load([]byte(documents[i]))
		switch {
		case python.Error != "":
			if err == nil && !strings.Contains(documents[i], "\t") {
				t.Errorf("%q: read as %#v, and PyYAML refuses it: %s", documents[i], got, python.Error)
			}
		case err != nil:
			t.Errorf("%q: refused: %v; PyYAML reads %#v", documents[i], err, python.Value)
		case !reflect.DeepEqual(got, python.Value):
			t.Errorf("%q: read as\n%#v, PyYAML reads\n%#v", documents[i], got, python.Value)
		}
	}
}

type answer struct {
	Value any
	Error string
}

func safeLoad(t *testing.T, documents []string) (answers []answer) {
	t.Helper()
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		t.Fatal("WINERY_PYTHON must name a Python interpreter that has swh.objstorage: `make test` sets it")
	}
	input, err := json.Marshal(documents)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/safe_load.py")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&answers); err != nil || len(answers) != len(documents) {
		t.Fatalf("%d answers to %d documents, %v", len(answers), len(documents), err)
	}
	return answers
}

func load(data []byte) (any, error) {
	document, err := Parse(data)
	if err != nil {
		return nil, err
	}
	return jsonOf(document.Root), nil
}

// jsonOf is a normalised node as safe_load.py writes it.
func jsonOf(node *yaml.Node) any {
	switch node.Tag {
	case "!!timestamp":
		return map[string]any{"date": true}
	case "!!seq":
		list := make([]any, len(node.Content))
		for i := range node.Content {
			list[i] = jsonOf(node.Content[i])
		}
		return list
	case "!!map":
		pairs := map[string]any{}
		for pair := range slices.Chunk(node.Content, 2) {
			pairs[pair[0].Value] = jsonOf(pair[1])
		}
		return pairs
	}
	var v any
	if err := node.Decode(&v); err != nil {
		return err
	}
	switch v := v.(type) {
	case int:
		return json.Number(strconv.Itoa(v))
	case float64:
		bits := fmt.Sprintf("%016x", math.Float64bits(v))
		if math.IsNaN(v) {
			bits = "nan"
		}
		return map[string]any{"float": bits}
	}
	return v
}
