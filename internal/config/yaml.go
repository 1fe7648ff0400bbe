// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader collects what is wrong with one file while its sections are read.
type reader struct {
	file     string
	root     *yaml.Node // nil: not valid YAML
	errs     []*Error
	warnings []string
}

// parse turns bytes into the root section; nil if they are not a YAML mapping.
func parse(file string, data []byte) (*reader, *section) {
	r := &reader{file: file}
	documents, err := readDocuments(data)
	if err != nil {
		r.syntax(err)
		return r, nil
	}
	if len(documents) > 1 {
		r.fail("", "holds %d YAML documents, must be one", len(documents))
		return r, nil
	}
	var found any
	if len(documents) == 1 {
		r.root = documents[0].Content[0]
		if found, err = construct(r.root, r.duplicate); err != nil {
			r.syntax(err)
			return r, nil
		}
	}
	root, ok := found.(map[string]any)
	if !ok {
		r.fail("", "found %s, must be a mapping with an objstorage section", kind(found))
		return r, nil
	}
	return r, &section{reader: r, values: root}
}

// directive is one for a version that PyYAML reads as 1.1, and the library not.
var directive = regexp.MustCompile(`^((?:\x{feff})?(?:#.*\r?\n)*%YAML[ \t]+1\.)\d+`)

func readDocuments(data []byte) (documents []*yaml.Node, err error) {
	decoder := yaml.NewDecoder(bytes.NewReader(directive.ReplaceAll(data, []byte("${1}1"))))
	for {
		var document yaml.Node
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return documents, nil
		case err != nil:
			return nil, err
		}
		documents = append(documents, &document)
	}
}

// locate finds a key's value, and the line of the key or of the nearest one above
// it: a key that is missing, or came by a YAML merge, has none of its own.
func (r *reader) locate(path string) (node *yaml.Node, line int) {
	for node = r.root; node != nil && path != ""; {
		name, rest, _ := strings.Cut(path, ".")
		name, index, isElement := strings.Cut(name, "[")
		path = rest
		var key *yaml.Node
		if key, node = find(resolved(node), name); key != nil {
			line = key.Line
		}
		if i, err := strconv.Atoi(strings.TrimSuffix(index, "]")); isElement && err == nil && node != nil {
			if node = resolved(node); i < len(node.Content) {
				node = node.Content[i]
				line = node.Line
			}
		}
	}
	return node, line
}

func (r *reader) line(path string) int {
	_, line := r.locate(path)
	return line
}

// find returns a key of a mapping and its value, nil if there is none.
func find(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; mapping.Kind == yaml.MappingNode && i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			key, value = mapping.Content[i], mapping.Content[i+1] // the last one counts
		}
	}
	return key, value
}

func (r *reader) fail(path, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: r.file, Line: r.line(path), Key: path, Msg: fmt.Sprintf(format, args...)})
}

func (r *reader) warn(path, msg string) {
	r.warnings = append(r.warnings, (&Error{File: r.file, Line: r.line(path), Key: path, Msg: msg}).Error())
}

// duplicate warns of a key that its mapping has already.
func (r *reader) duplicate(key *yaml.Node) {
	warning := &Error{File: r.file, Line: key.Line, Key: shown(key.Value), Msg: "given more than once; the last one counts"}
	r.warnings = append(r.warnings, warning.Error())
}

var (
	lineOfError = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	quoted      = regexp.MustCompile(`['"` + "`" + `].*['"` + "`" + `]`)
	plainWord   = regexp.MustCompile(`^[\w.-]{1,64}$`)
)

// syntax reports the YAML library's error. What it quotes may be a password.
func (r *reader) syntax(err error) {
	e := &Error{File: r.file, Line: 1}
	msg := err.Error()
	if match := lineOfError.FindStringSubmatch(msg); match != nil {
		msg = msg[len(match[0]):]
		if line, err := strconv.Atoi(match[1]); err == nil {
			e.Line = line
		}
	}
	e.Msg = "not valid YAML: " + quoted.ReplaceAllStringFunc(msg, func(s string) string {
		return `"` + shown(s[1:len(s)-1]) + `"`
	})
	r.errs = append(r.errs, e)
}

// err joins the errors in the order of the file.
func (r *reader) err() error {
	slices.SortStableFunc(r.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	joined := make([]error, len(r.errs))
	for i, e := range r.errs {
		joined[i] = e
	}
	return errors.Join(joined...)
}

// shown gives a key or word for a message, unless it cannot be the name of a
// setting: it may then be a connection string in the wrong place.
func shown(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "…"
}
