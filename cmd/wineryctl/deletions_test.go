// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"winery/sharedbase"
)

// TestDeletionsAreNotKept: deletions are printed while they are listed, and what is printed
// before an error is complete.
func TestDeletionsAreNotKept(t *testing.T) {
	const n, pages = 2500, 2
	broken := errors.New("the connection broke")
	for name, asJSON := range map[string]bool{"table": false, "json": true} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			early := 0
			err := printDeletions(&out, asJSON, func(found func(sharedbase.Deletion) error) error {
				for i := range n {
					d := sharedbase.Deletion{At: time.Unix(int64(i), 0)}
					d.Client = strings.Repeat("c", 1+i/1000)
					if err := found(d); err != nil {
						return err
					}
				}
				early = bytes.Count(out.Bytes(), []byte(strings.Repeat("00", 32)))
				return broken
			})
			if !errors.Is(err, broken) || early < pages*pageRows || early > n {
				t.Errorf("%v; %d of %d rows were printed before the end of the list", err, early, n)
			}
			if !asJSON {
				if lines := strings.Count(out.String(), "\n"); lines != 1+n {
					t.Errorf("%d lines", lines)
				}
				return
			}
			var rows []deletionRow
			if err := json.Unmarshal(out.Bytes(), &rows); err != nil || len(rows) != n || rows[n-1].Client != "ccc" {
				t.Errorf("%d rows, %v", len(rows), err)
			}
		})
	}
}

// TestJSONList: a list that is printed by entries is the one that is printed as a whole.
func TestJSONList(t *testing.T) {
	for _, entries := range [][]any{{}, {1}, {map[string]any{"a": []int{1, 2}, "b": "<&>"}, "c", nil}} {
		var whole, parts bytes.Buffer
		list := newJSONList(&parts)
		for _, e := range entries {
			list.add(e)
		}
		if err := errors.Join(list.end(), printJSON(&whole, entries)); err != nil || whole.String() != parts.String() {
			t.Errorf("%v: by entries %q, as a whole %q", err, &parts, &whole)
		}
	}
	if err := newJSONList(fullWriter{}).end(); err == nil {
		t.Error("a full disk is no error")
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
