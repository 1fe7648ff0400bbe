// SPDX-License-Identifier: GPL-3.0-or-later

package yaml11

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Error tells why a file is not a YAML document. It shows nothing of the file's text,
// which may be a password.
type Error struct {
	Line int // counted from 1; 0 if the error is about the file as a whole
	Msg  string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

func failure(node *yaml.Node, msg string) error {
	return &Error{node.Line, "not valid YAML: " + msg}
}

var (
	libraryError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	noAnchor     = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	quoted       = regexp.MustCompile(`['"` + "`" + `].*['"` + "`" + `]`)
	word         = regexp.MustCompile(`^[\w.-]{1,64}$`)
)

// translate makes an Error of an error of the library about data.
func translate(err error, data []byte) error {
	line, msg := 1, err.Error()
	if parts := libraryError.FindStringSubmatch(msg); parts != nil {
		msg = parts[2]
		if n, err := strconv.Atoi(parts[1]); err == nil {
			line = n
		}
	}
	if anchor := noAnchor.FindStringSubmatch(msg); anchor != nil {
		return &Error{lineOfAlias(anchor[1], data), `not valid YAML: a value refers to an unknown anchor: write a value that begins with "*" in quotes`}
	}
	return &Error{line, "not valid YAML: " + quoted.ReplaceAllString(msg, `"…"`) +
		": correct quotes, brackets or indentation (spaces, no tabs) up to this line"}
}

// lineOfAlias returns where anchor is referred to first, which the library does not tell.
func lineOfAlias(anchor string, data []byte) int {
	at := regexp.MustCompile(`\*` + regexp.QuoteMeta(anchor) + `(?:[^\w-]|$)`).FindIndex(data)
	if at == nil {
		return 1
	}
	return 1 + bytes.Count(data[:at[0]], []byte("\n"))
}

// Shown returns a word of a file for a message. It returns an ellipsis if the word cannot be the name of a key: it may then
// be a connection string or a password in the wrong place.
func Shown(s string) string {
	if word.MatchString(s) {
		return s
	}
	return "…"
}
