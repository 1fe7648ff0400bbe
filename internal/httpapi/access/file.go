// SPDX-License-Identifier: GPL-3.0-or-later

package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"winery/internal/httpapi"
)

// file is the access file as it is written.
type file struct {
	Clients   []Entry  `yaml:"clients"`
	Anonymous []string `yaml:"anonymous"`
}

// Entry is a client in the access file, as the package comment has it.
type Entry struct {
	Name        string   `yaml:"name"`
	TokenSHA256 string   `yaml:"token_sha256,omitempty"`
	Certificate string   `yaml:"certificate,omitempty"`
	Rights      []string `yaml:"rights,flow"`
	Expires     string   `yaml:"expires,omitempty"`
}

// Format returns the Entry as lines of the access file, or an error if it is wrong.
func (e Entry) Format() (string, error) {
	if _, err := (file{Clients: []Entry{e}}).check(); err != nil {
		return "", err
	}
	text, err := yaml.Marshal([]Entry{e})
	return string(text), err
}

// client is an entry that was checked.
type client struct {
	name    string
	rights  rights
	expires time.Time // zero: never
}

type rights map[httpapi.Right]bool

// list is a version of the access file.
type list struct {
	tokens       map[[sha256.Size]byte]*client
	certificates map[string]*client // by subject alternative name
	anonymous    rights
}

// read reads and checks the access file. The error names the file, and each client
// that is wrong.
func read(path string) (*list, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("access file: %w", err)
	}
	var f file
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("access file %s: %s", path, plain(err))
	}
	if err := decoder.Decode(new(file)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("access file %s: it has more than one YAML document", path)
	}
	l, err := f.check()
	if err != nil {
		return nil, fmt.Errorf("access file %s: %w", path, err)
	}
	return l, nil
}

var quoted = regexp.MustCompile("['`].*['`]")

// plain is a decoder's error without the names of Go types, and without values: one
// may be a secret in the wrong place.
func plain(err error) string {
	var types *yaml.TypeError
	if !errors.As(err, &types) {
		return quoted.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), `"…"`)
	}
	for i, line := range types.Errors {
		place, what, _ := strings.Cut(line, ": ")
		if key, _, ok := strings.Cut(strings.TrimPrefix(what, "field "), " not found in type"); ok {
			what = fmt.Sprintf("unknown key %q; a client has name, token_sha256 or certificate, rights and expires", key)
		} else if strings.HasPrefix(what, "cannot unmarshal") {
			what = "wrong type of value"
		}
		types.Errors[i] = place + ": " + what
	}
	return strings.Join(types.Errors, "; ")
}

func (f file) check() (*list, error) {
	l := &list{tokens: map[[sha256.Size]byte]*client{}, certificates: map[string]*client{}}
	var errs []error
	var err error
	if l.anonymous, err = parseRights(f.Anonymous); err != nil {
		errs = append(errs, fmt.Errorf("anonymous: %w", err))
	}
	names := map[string]bool{}
	for i, e := range f.Clients {
		if err := l.add(e, names); err != nil {
			errs = append(errs, fmt.Errorf("client %d (%q): %w", i+1, e.Name, err))
		}
	}
	return l, errors.Join(errs...)
}

// add checks an entry.
func (l *list) add(e Entry, names map[string]bool) (err error) {
	c := &client{name: e.Name}
	if c.rights, err = parseRights(e.Rights); err != nil {
		return err
	}
	if e.Expires != "" {
		day, err := time.Parse(time.DateOnly, e.Expires)
		if err != nil {
			return errors.New("expires must be a day, YEAR-MONTH-DAY")
		}
		c.expires = day.AddDate(0, 0, 1)
	}
	switch {
	case e.Name == "" || strings.ContainsFunc(e.Name, func(r rune) bool { return r <= ' ' || r == '"' }):
		return errors.New("name must be given, without spaces and quotes")
	case names[e.Name]:
		return errors.New("another client has this name")
	case len(c.rights) == 0:
		return errors.New("rights must name at least one of read, write and delete")
	case (e.TokenSHA256 == "") == (e.Certificate == ""):
		return errors.New("give either token_sha256 or certificate")
	}
	names[e.Name] = true
	if e.Certificate != "" {
		if l.certificates[e.Certificate] != nil {
			return errors.New("another client has this certificate")
		}
		l.certificates[e.Certificate] = c
		return nil
	}
	sum, err := hex.DecodeString(e.TokenSHA256)
	if err != nil || len(sum) != sha256.Size {
		return errors.New("token_sha256 must be a SHA-256: 64 digits in hex")
	}
	if l.tokens[[sha256.Size]byte(sum)] != nil {
		return errors.New("another client has this token")
	}
	l.tokens[[sha256.Size]byte(sum)] = c
	return nil
}

func parseRights(names []string) (rights, error) {
	all := rights{}
	for _, name := range names {
		right := httpapi.Right(name)
		switch right {
		case httpapi.Read, httpapi.Write, httpapi.Delete:
			all[right] = true
		default:
			return nil, fmt.Errorf("there is no right %q; the rights are read, write and delete", name)
		}
	}
	return all, nil
}
