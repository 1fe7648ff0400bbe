// SPDX-License-Identifier: GPL-3.0-or-later

package objects

import (
	"net/http"
	"strings"
)

// conditions are a request's preconditions on an object, by RFC 9110, section
// 13. Those on a date are ignored, as an object has none.
type conditions struct {
	ifMatch, ifNoneMatch tags
}

func conditionsOf(header http.Header) conditions {
	return conditions{tagsOf(header.Values("If-Match")), tagsOf(header.Values("If-None-Match"))}
}

// matchFails says whether If-Match forbids the request.
func (c conditions) matchFails(etag string, there bool) bool {
	return c.ifMatch.given && (!there || !c.ifMatch.has(etag, false))
}

// noneMatchFails reports whether If-None-Match forbids it.
func (c conditions) noneMatchFails(etag string, there bool) bool {
	return c.ifNoneMatch.given && there && c.ifNoneMatch.has(etag, true)
}

// tags are the entity tags that a header lists.
type tags struct {
	given  bool
	any    bool     // "*"
	strong []string // with their quotes
	weak   []string // the same, without W/
}

// tagsOf reads the values of a header. What is no entity tag matches nothing.
func tagsOf(values []string) (t tags) {
	t.given = len(values) > 0
	rest := strings.Trim(strings.Join(values, ","), " \t")
	if rest == "*" {
		t.any = true
		return t
	}
	for rest != "" {
		rest = strings.TrimLeft(rest, " \t,")
		opaque, weak := strings.CutPrefix(rest, "W/")
		end := strings.IndexByte(strings.TrimPrefix(opaque, `"`), '"')
		if !strings.HasPrefix(opaque, `"`) || end < 0 {
			return t
		}
		if tag := opaque[:end+2]; weak {
			t.weak = append(t.weak, tag)
		} else {
			t.strong = append(t.strong, tag)
		}
		rest = opaque[end+2:]
	}
	return t
}

// has compares by RFC 9110, section 8.8.3.2: the strong comparison leaves out weak tags.
func (t tags) has(etag string, weakly bool) bool {
	for _, tag := range t.strong {
		if tag == etag {
			return true
		}
	}
	for _, tag := range t.weak {
		if weakly && tag == etag {
			return true
		}
	}
	return t.any
}

// rangeOf is the request's Range header, "" if it is to be ignored: where there
// are several, where the method is not GET, or where If-Range names another object.
func rangeOf(r *http.Request, etag string) string {
	ranges, ifRange := r.Header.Values("Range"), r.Header.Values("If-Range")
	if len(ranges) != 1 || r.Method != http.MethodGet || len(ifRange) > 0 && (len(ifRange) > 1 || ifRange[0] != etag) {
		return ""
	}
	return ranges[0]
}
