// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one fault of a configuration.
type Error struct {
	File string // "" if there is none
	Line int    // counted from 1; 0 where it is not about a line
	Key  string // path of the key, such as objstorage.shards_pools[1].pool_name; "" if about the whole file
	Msg  string // what was found, what it must be, and the cure
	// Warning is true if the configuration can be used in spite of it.
	Warning bool
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
	file   string
	faults []*Error
}

func (r *report) fail(line int, key, msg string) {
	r.faults = append(r.faults, &Error{r.file, line, key, msg, false})
}

func (r *report) warn(line int, key, msg string) {
	r.faults = append(r.faults, &Error{r.file, line, key, msg, true})
}

// sorted returns the faults in the order of the file.
func (r *report) sorted() []*Error {
	slices.SortStableFunc(r.faults, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	return r.faults
}

// result returns c with the warnings, or the errors.
func result(c *Config, faults []*Error) (*Config, error) {
	var errs []error
	for _, fault := range faults {
		if fault.Warning {
			c.Warnings = append(c.Warnings, fault.Error())
		} else {
			errs = append(errs, fault)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}
