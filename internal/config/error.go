// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	File string // "" if there is none
	Line int    // counted from 1; 0 where it is not about a line
	Key  string // path of the key, such as objstorage.shards_pools[1].pool_name; "" if about the whole file
	Msg  string // what was found and what it may be
}

func (e *Error) Error() string {
	place := e.File
	if e.Line > 0 {
		place = fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	parts := []string{place, e.Key, e.Msg}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// report collects what is wrong with one file.
type report struct {
	file     string
	errs     []*Error
	warnings []string
}

func (r *report) fail(line int, key, msg string) {
	r.errs = append(r.errs, &Error{r.file, line, key, msg})
}

func (r *report) warn(line int, key, msg string) {
	r.warnings = append(r.warnings, (&Error{r.file, line, key, msg}).Error())
}

// err joins the errors in the order of the file.
func (r *report) err() error {
	slices.SortStableFunc(r.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	joined := make([]error, len(r.errs))
	for i, e := range r.errs {
		joined[i] = e
	}
	return errors.Join(joined...)
}
