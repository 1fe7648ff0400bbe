// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
)

// Each thing that must not be is found, and nothing else is.
func TestJournalFinds(t *testing.T) {
	content := []byte("content")
	id := sharedbase.ObjID(sha256.Sum256(content))
	away := errors.New("no answer")
	type request struct {
		op    op
		known bool
	}
	for name, c := range map[string]struct {
		requests []request
		content  []byte
		err      error
		want     verdict
	}{
		"added, there":                    {[]request{{add, true}}, content, nil, ""},
		"added, lost":                     {[]request{{add, true}}, nil, client.ErrNotFound, lost},
		"added, another content":          {[]request{{add, true}}, []byte("cintent"), nil, wrong},
		"added, cut short":                {[]request{{add, true}}, content[:3], nil, wrong},
		"added, corrupt":                  {[]request{{add, true}}, nil, client.ErrCorrupted, wrong},
		"added, no answer":                {[]request{{add, true}}, nil, away, ""},
		"deleted, gone":                   {[]request{{add, true}, {remove, true}}, nil, client.ErrNotFound, ""},
		"deleted, readable":               {[]request{{add, true}, {remove, true}}, content, nil, undead},
		"deleted twice, readable":         {[]request{{add, true}, {remove, false}, {remove, true}}, content, nil, undead},
		"added again, there":              {[]request{{add, true}, {remove, true}, {add, true}}, content, nil, ""},
		"added again, lost":               {[]request{{add, true}, {remove, true}, {add, true}}, nil, client.ErrNotFound, lost},
		"added twice, lost":               {[]request{{add, false}, {add, true}}, nil, client.ErrNotFound, lost},
		"perhaps added, there":            {[]request{{add, false}}, content, nil, ""},
		"perhaps added, not there":        {[]request{{add, false}}, nil, client.ErrNotFound, ""},
		"perhaps added, another content":  {[]request{{add, false}}, []byte("cintent"), nil, wrong},
		"perhaps deleted, there":          {[]request{{add, true}, {remove, false}}, content, nil, ""},
		"perhaps deleted, not there":      {[]request{{add, true}, {remove, false}}, nil, client.ErrNotFound, ""},
		"an old add may come yet":         {[]request{{add, false}, {add, true}, {remove, true}}, content, nil, ""},
		"an old deletion may come yet":    {[]request{{add, true}, {remove, false}, {remove, true}, {add, true}}, nil, client.ErrNotFound, ""},
		"an old deletion, another object": {[]request{{add, true}, {remove, false}, {remove, true}, {add, true}}, []byte("x"), nil, wrong},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal()
			for _, r := range c.requests {
				j.record(id, len(content), r.op, 0, time.Now(), r.known)
			}
			for range 2 { // found twice is one finding
				j.check(id, c.content, c.err)
			}
			for _, v := range []verdict{lost, wrong, undead} {
				n := 0
				if v == c.want {
					n = 1
				}
				if got := j.count(v); got != n {
					t.Errorf("%d objects with the finding %q, want %d", got, v, n)
				}
			}
		})
	}
}

func TestJournalCounts(t *testing.T) {
	j := newJournal()
	one, two := sharedbase.ObjID{1}, sharedbase.ObjID{2}
	for _, o := range []op{add, remove, add, remove, add} {
		j.record(one, 10, o, 0, time.Now(), true)
	}
	j.record(two, 5, add, 1, time.Now(), false)
	if got, want := j.totals(), (totals{Objects: 1, Bytes: 10, Deletes: 2, ReAdds: 2, Doubtful: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
