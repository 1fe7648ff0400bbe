// SPDX-License-Identifier: GPL-3.0-or-later

package objects_test

import (
	"strings"
	"testing"

	"winery/internal/httpapi/rpc/rpctest"
)

// TestRFC9110 has ranges (section 14) and conditions (section 13) on reading.
func TestRFC9110(t *testing.T) {
	const digits = "0123456789"
	tag, other := etag(digits), etag("x")
	var store rpctest.Store
	put(&store, digits, "")
	server := serve(t, &store, false)
	type c struct {
		method, content string // of the object
		headers         []string
		status          int
		text            string
		contentRange    string
	}
	get := func(status int, text, contentRange string, headers ...string) c {
		return c{"GET", digits, headers, status, text, contentRange}
	}
	whole := func(headers ...string) c { return get(200, digits, "", headers...) }
	unsatisfiable := func(ranges string) c { return get(416, "", "bytes */10", "Range: "+ranges) }
	for _, c := range []c{
		// Ranges.
		get(206, "234", "bytes 2-4/10", "Range: bytes=2-4"),
		get(206, "789", "bytes 7-9/10", "Range: bytes=-3"),
		get(206, "9", "bytes 9-9/10", "Range: bytes=9-"),
		get(206, digits, "bytes 0-9/10", "Range: bytes=0-"),
		get(206, digits, "bytes 0-9/10", "Range: bytes=-11"),
		get(206, "89", "bytes 8-9/10", "Range: bytes=8-100"),
		get(206, "01", "bytes 0-1/10", "Range: Bytes=0-1"),
		get(206, "01", "bytes 0-1/10", "Range: BYTES=0-1"),
		get(206, "89", "bytes 8-9/10", "Range: bytes=8-99999999999999999999"),
		get(206, digits, "bytes 0-9/10", "Range: bytes=-99999999999999999999"),
		get(206, "01", "bytes 0-1/10", "Range: bytes=000-001"),
		get(206, "01", "bytes 0-1/10", "Range: bytes= ,0-1 ,"),
		get(206, "9", "bytes 9-9/10", "Range: bytes=10-11,9-9"),
		unsatisfiable("bytes=10-"),
		unsatisfiable("bytes=10-20"),
		unsatisfiable("bytes=-0"),
		unsatisfiable("bytes=-00"),
		unsatisfiable("bytes=-0,10-"),
		unsatisfiable("bytes=99999999999999999999-"),
		unsatisfiable("bytes=99999999999999999998-99999999999999999999"),
		// Ranges that are not understood.
		whole("Range: items=0-1"),
		whole("Range: bytes=4-2"),
		whole("Range: bytes=99999999999999999999-99999999999999999998"),
		whole("Range: bytes=0-1,4-2"),
		whole("Range: bytes"),
		whole("Range: bytes="),
		whole("Range: bytes=-"),
		whole("Range: bytes=a-b"),
		whole("Range: bytes=+0-1"),
		whole("Range: bytes=0-1-2"),
		whole("Range: bytes=0 -1"),
		whole("Range: bytes =0-1"),
		whole("Range: bytes=0-1", "Range: bytes=2-3"),
		// More than is there.
		whole("Range: bytes=0-9,0-9"),
		whole("Range: bytes=" + strings.Repeat("0-0,", 17)),
		// An empty object has no part.
		{"GET", "", []string{"Range: bytes=-5"}, 200, "", ""},
		{"GET", "", []string{"Range: bytes=0-"}, 200, "", ""},
		{"GET", "", []string{"Range: bytes=0-0"}, 200, "", ""},
		// Only GET has ranges.
		{"HEAD", digits, []string{"Range: bytes=2-4"}, 200, "", ""},
		{"HEAD", digits, nil, 200, "", ""},
		// If-Range.
		get(206, "0", "bytes 0-0/10", "Range: bytes=0-0", "If-Range: "+tag),
		whole("Range: bytes=0-0", "If-Range: "+other),
		whole("Range: bytes=0-0", "If-Range: W/"+tag),
		whole("Range: bytes=0-0", "If-Range: Wed, 21 Oct 2015 07:28:00 GMT"),
		whole("Range: bytes=-0", "If-Range: "+other),
		whole("If-Range: " + tag),
		// If-Match.
		whole("If-Match: " + tag),
		whole("If-Match: *"),
		whole("If-Match: " + other + ", " + tag),
		whole("If-Match: "+other, "If-Match: "+tag),
		get(412, "", "", "If-Match: "+other),
		get(412, "", "", "If-Match: W/"+tag),
		get(412, "", "", "If-Match: "+strings.Trim(tag, `"`)),
		get(412, "", "", "If-Match: "+other, "Range: bytes=0-1"),
		get(412, "", "", "If-Match: "+other, "If-None-Match: "+tag),
		{"HEAD", digits, []string{"If-Match: " + other}, 412, "", ""},
		// If-None-Match.
		get(304, "", "", "If-None-Match: "+tag),
		get(304, "", "", "If-None-Match: W/"+tag),
		get(304, "", "", "If-None-Match: *"),
		get(304, "", "", `If-None-Match: "a,b" , W/`+tag),
		get(304, "", "", "If-None-Match: "+other, "If-None-Match: "+tag),
		get(304, "", "", "If-None-Match: "+tag, "Range: bytes=0-1"),
		{"HEAD", digits, []string{"If-None-Match: " + tag}, 304, "", ""},
		whole("If-None-Match: " + other),
		whole("If-None-Match: w/" + tag),
		whole("If-None-Match: " + strings.Trim(tag, `"`)),
		whole(`If-None-Match: "x` + strings.Trim(tag, `"`) + `"`),
		whole(`If-None-Match: ""`),
		whole("If-None-Match: "),
		get(206, "01", "bytes 0-1/10", "If-None-Match: "+other, "Range: bytes=0-1"),
		// Dates say nothing of an object, which has none.
		whole("If-Modified-Since: Wed, 21 Oct 2065 07:28:00 GMT"),
		whole("If-Unmodified-Since: Wed, 21 Oct 2015 07:28:00 GMT"),
		// Conditions on what is not there.
		{"GET", "none", []string{"If-Match: *"}, 404, "", ""},
		{"GET", "none", []string{"If-None-Match: *"}, 404, "", ""},
		{"GET", "none", []string{"Range: bytes=0-1"}, 404, "", ""},
		{"HEAD", "none", []string{"If-None-Match: " + etag("none")}, 404, "", ""},
	} {
		got := do(t, server, c.method, address(c.content), "", c.headers...)
		text := got.text
		if got.status >= 400 {
			text = ""
		}
		if got.status != c.status || text != c.text || got.header.Get("Content-Range") != c.contentRange {
			t.Errorf("%s of %q with %q: %+v, want %d %q %q", c.method, c.content, c.headers, got, c.status, c.text, c.contentRange)
		}
		if hasTag := got.header.Get("Etag") == etag(c.content); hasTag != (got.status < 400) {
			t.Errorf("%s of %q with %q: %+v", c.method, c.content, c.headers, got)
		}
		if c.method == "HEAD" && got.status == 200 && got.header.Get("Content-Length") != "10" {
			t.Errorf("HEAD with %q: %+v", c.headers, got)
		}
	}
}

// TestConditionalPut has conditions on storing.
func TestConditionalPut(t *testing.T) {
	there, none := etag("there"), etag("none")
	for _, c := range []struct {
		content, header string
		status          int
	}{
		{"none", "If-None-Match: *", 201},
		{"none", "If-None-Match: " + none, 201},
		{"there", "If-None-Match: *", 412},
		{"there", "If-None-Match: " + there, 412},
		{"there", "If-None-Match: W/" + there, 412},
		{"there", "If-None-Match: " + none, 204},
		{"there", "If-Match: *", 204},
		{"there", "If-Match: " + none + ", " + there, 204},
		{"there", "If-Match: " + none, 412},
		{"there", "If-Match: W/" + there, 412},
		{"none", "If-Match: *", 412},
		{"none", "If-Match: " + none, 412},
		{"none", "If-Modified-Since: Wed, 21 Oct 2015 07:28:00 GMT", 201},
	} {
		var store rpctest.Store
		put(&store, "there")
		got := do(t, serve(t, &store, false), "PUT", address(c.content), c.content, c.header)
		objects := map[int]int{201: 2, 204: 1, 412: 1}[c.status]
		if got.status != c.status || store.Len() != objects {
			t.Errorf("%s with %s: %+v, %d objects", c.content, c.header, got, store.Len())
		}
	}
}
