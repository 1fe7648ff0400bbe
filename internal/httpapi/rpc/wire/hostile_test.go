// SPDX-License-Identifier: GPL-3.0-or-later

package wire_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"winery/internal/httpapi/rpc/wire"
)

// hostile are requests that must be refused, and what the error must say.
var hostile = []struct{ format, body, says string }{
	{"msgpack", "", "too early"},
	{"msgpack", "\xc0", "a map"},
	{"msgpack", "\xc1", "a map"},
	{"msgpack", "hello", "a map"},
	{"msgpack", "\x81", "too early"},
	{"msgpack", "\xdf\xff\xff\xff\xff", "too early"},
	{"msgpack", "\x81\x01\x02", "text"},
	{"msgpack", "\x80\x80", "after the end"},
	{"msgpack", "\x81\xa6obj_id\xc4\x02xx", "a map"},
	{"msgpack", "\x81\xa6obj_id\x81\xa6sha256\xa2xx", "obj_id.sha256: expected bytes"},
	{"msgpack", "\x81\xa6obj_id\xdf\xff\xff\xff\xff", "too early"},
	{"msgpack", "\x81\xa6obj_id\xde\x00\x11" + strings.Repeat("\xa1x\xc0", 17), "more than 16"},
	{"msgpack", "\x81\xa7content\xc6\xff\xff\xff\xffxx", "too early"},
	{"msgpack", "\x81\xa7content\xa2xx", "argument content: expected bytes"},
	{"msgpack", "\x81\xa7obj_ids\xdd\xff\xff\xff\xff", "too early"},
	{"msgpack", "\x81\xa7obj_ids\xdd\xff\xff\xff\xff\x80", "no sha256"},
	{"msgpack", "\x81\xa7obj_ids\x91\x81\xa6sha256\xc4\x01x", "has 1 bytes"},
	{"msgpack", "\x81\xa8contents\x91\x91", "too early"},
	{"msgpack", "\x81\xa8contents\x91\x90", "the pair"},
	{"msgpack", "\x81\xaecheck_presence\x01", "true or false"},
	{"msgpack", "\x81\xa1x\xc1", "unknown code c1"},
	{"msgpack", "\x81\xa1x\xc9\xff\xff\xff\xff\x01", "too early"},
	{"msgpack", "\x81\xa1x\xdd\xff\xff\xff\xff" + strings.Repeat("\xdd\xff\xff\xff\xff", 1000), "too early"},
	{"msgpack", "\x81\xa1x" + strings.Repeat("\x91", 10<<20), "too early"},
	{"msgpack", "\x81\xdb\x00\x10\x00\x00" + strings.Repeat("\xff", 1<<20) + "\xc1", "a name has 1048576 bytes"},
	{"msgpack", "\x81\xa6obj_id\x81\xd9\x81" + strings.Repeat("\xff", 129) + "\xc0", "a name has 129 bytes"},
	{"json", "", "too early"},
	{"json", "{", "too early"},
	{"json", "[]", "an object"},
	{"json", "null", "an object"},
	{"json", "{} {}", "after the end"},
	{"json", `{"content": "x"}`, "content"},
	{"json", `{"content": {"swhtype": "bytes"}}`, "BASE85"},
	{"json", `{"content": {"swhtype": "text", "d": "00"}}`, "BASE85"},
	{"json", `{"content": {"swhtype": "bytes", "d": "\"\""}}`, "not a base 85 digit"},
	{"json", `{"obj_id": []}`, "an object"},
	{"json", `{"obj_id": {"sha256": "0123"}}`, "obj_id.sha256"},
	{"json", `{"obj_ids": [{}]}`, "no sha256"},
	{"json", `{"obj_ids": [{]}`, "invalid character"},
	{"json", `{"contents": [[]]}`, "the pair"},
	{"json", `{"check_write": 1}`, "true or false"},
	{"json", `{"` + strings.Repeat("x", 129) + `": ]`, "a name has 129 bytes"},
	{"json", `{"x": ` + strings.Repeat("[", 1<<20), "depth"},
}

func TestHostileRequests(t *testing.T) {
	for _, h := range hostile {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := wire.Decode(formats[h.format], []byte(h.body), wire.ReadRequest)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), h.says) {
			t.Errorf("%s %.60q: got the error %.200v, expected one with %q", h.format, h.body, err, h.says)
		} else if len(err.Error()) > 300 {
			t.Errorf("%s %.60q: the error has %d bytes", h.format, h.body, len(err.Error()))
		}
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(4*len(h.body)+64<<10); got > limit {
			t.Errorf("%s %.60q: decoding %d bytes took %d bytes of memory", h.format, h.body, len(h.body), got)
		}
	}
}

func TestBatchTooLong(t *testing.T) {
	request := wire.Request{ObjIDs: make([][32]byte, wire.MaxBatch+1)}
	_, err := wire.Decode(wire.MsgPack, []byte(text(request.Encode(wire.MsgPack))), wire.ReadRequest)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(wire.MaxBatch)) {
		t.Error(err)
	}
}

func TestNoSHA256(t *testing.T) {
	for _, id := range []wire.ObjID{{}, {{"sha1", []byte("x")}}, {{"sha256", nil}}} {
		if _, err := id.SHA256(); !errors.Is(err, wire.ErrNoSHA256) {
			t.Errorf("%v: %v", id, err)
		}
	}
}

// TestTruncated cuts Python's requests at every byte.
func TestTruncated(t *testing.T) {
	for extension, format := range formats {
		for _, name := range []string{"add", "add_batch", "get_batch", "download_url"} {
			whole := python(t, name, extension)
			for n := range whole {
				if _, err := wire.Decode(format, whole[:n], wire.ReadRequest); err == nil {
					t.Errorf("the first %d bytes of %s.%s were taken for a request", n, name, extension)
				}
			}
		}
	}
}
