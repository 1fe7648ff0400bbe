// SPDX-License-Identifier: GPL-3.0-or-later

package yaml11

import (
	"fmt"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Error tells why a file is not a YAML document. Of the file's text it shows only
// single words, see Shown.
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
	quoted       = regexp.MustCompile(`['"` + "`" + `].*['"` + "`" + `]`)
	word         = regexp.MustCompile(`^[\w.-]{1,64}$`)
)

// translate makes an Error of an error of the library.
func translate(err error) error {
	line, msg := 1, err.Error()
	if parts := libraryError.FindStringSubmatch(msg); parts != nil {
		msg = parts[2]
		if n, err := strconv.Atoi(parts[1]); err == nil {
			line = n
		}
	}
	return &Error{line, "not valid YAML: " + quoted.ReplaceAllStringFunc(msg, func(s string) string {
		return strconv.Quote(Shown(s[1 : len(s)-1]))
	}) + ": correct quotes, brackets or indentation (spaces, no tabs) up to this line"}
}

// Shown returns a word of a file for a message. It returns an ellipsis if the word cannot be the name of a key: it may then
// be a connection string or a password in the wrong place.
func Shown(s string) string {
	if word.MatchString(s) {
		return s
	}
	return "…"
}
