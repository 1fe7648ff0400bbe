// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// reader collects what is wrong with one file while its sections are read.
type reader struct {
	file     string
	lines    map[string]int // line of each key, by path
	errs     []*Error
	warnings []string
}

// parse turns bytes into the root section; nil if they are not a YAML mapping.
func parse(file string, data []byte) (*reader, *section) {
	r := &reader{file: file, lines: map[string]int{}}
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		r.syntax(err)
		return r, nil
	}
	docs := slices.DeleteFunc(doc.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
	if len(docs) > 1 {
		r.fail("", "holds %d YAML documents, must be one", len(docs))
		return r, nil
	}
	var found any
	if len(docs) == 1 {
		if err := yaml.NodeToValue(docs[0].Body, &found); err != nil {
			r.syntax(err)
			return r, nil
		}
		ast.Walk(r, docs[0].Body)
	}
	root, ok := found.(map[string]any)
	if !ok {
		r.fail("", "found %s, must be a mapping with an objstorage section", kind(found))
		return r, nil
	}
	return r, &section{reader: r, values: root}
}

// Visit notes the line of each key, for messages.
func (r *reader) Visit(n ast.Node) ast.Visitor {
	path := strings.TrimPrefix(strings.TrimPrefix(n.GetPath(), "$"), ".")
	if _, ok := r.lines[path]; !ok && n.GetToken() != nil {
		r.lines[path] = n.GetToken().Position.Line
	}
	return r
}

// line finds the line of a key, or of the nearest one above it: a key that is
// missing, or came by a YAML merge, has none of its own.
func (r *reader) line(path string) int {
	for path != "" {
		if line, ok := r.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

func (r *reader) fail(path, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: r.file, Line: r.line(path), Key: path, Msg: fmt.Sprintf(format, args...)})
}

func (r *reader) warn(path, msg string) {
	r.warnings = append(r.warnings, (&Error{File: r.file, Line: r.line(path), Key: path, Msg: msg}).Error())
}

// syntax reports the YAML library's error without the excerpt of the file that
// it carries, which may show a password.
func (r *reader) syntax(err error) {
	e := &Error{File: r.file, Msg: "not valid YAML"}
	var known yaml.Error
	if errors.As(err, &known) {
		e.Msg += ": " + quoted.ReplaceAllStringFunc(known.GetMessage(), func(s string) string {
			return `"` + shown(strings.Trim(s, `"`)) + `"`
		})
		if token := known.GetToken(); token != nil {
			e.Line = token.Position.Line
		}
	}
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

var (
	quoted = regexp.MustCompile(`".*"`)
	plain  = regexp.MustCompile(`^[\w.-]{1,64}$`)
)

// shown gives a key or word for a message, unless it cannot be the name of a
// setting: it may then be a connection string in the wrong place.
func shown(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "…"
}
