// SPDX-License-Identifier: GPL-3.0-or-later

package wire_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/blake2s"

	"winery/internal/httpapi/rpc/wire"
)

var formats = map[string]wire.Format{"msgpack": wire.MsgPack, "json": wire.JSON}

// python is a message as Python writes it; testdata/capture.py made them.
func python(t testing.TB, name, extension string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/python/" + name + "." + extension)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var some, empty = []byte("winery\n"), []byte{}

func keyOf(content []byte) [32]byte { return sha256.Sum256(content) }

func idOf(content []byte) wire.ObjID {
	blake, sum256 := blake2s.Sum256(content), sha256.Sum256(content)
	sha, git := sha1.Sum(content), sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	return wire.ObjID{{"blake2s256", blake[:]}, {"sha1", sha[:]}, {"sha1_git", git[:]}, {"sha256", sum256[:]}}
}

func TestPythonRequests(t *testing.T) {
	batch := []wire.Object{{ID: keyOf(some), Content: some}, {ID: keyOf(empty), Content: empty}}
	for name, want := range map[string]wire.Request{
		"check_config":  {CheckPresence: true, CheckWrite: true},
		"contains":      {CheckPresence: true, ObjID: idOf(some)},
		"add":           {CheckPresence: true, ObjID: idOf(some), Content: some},
		"restore_empty": {ObjID: wire.ID(keyOf(empty)), Content: empty},
		"add_batch":     {CheckPresence: true, Contents: batch},
		"get_batch":     {CheckPresence: true, ObjIDs: [][32]byte{keyOf(some), keyOf(empty)}},
		"download_url":  {CheckPresence: true, ObjID: idOf(some)},
	} {
		for extension, format := range formats {
			got, err := wire.Decode(format, python(t, name, extension), wire.ReadRequest)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s.%s: got %+v, %v; expected %+v", name, extension, got, err, want)
			}
		}
	}
}

func TestPythonAnswers(t *testing.T) {
	notFound := &wire.Error{Type: wire.TypeNotFound, ObjID: idOf(some), Message: "text \u2603"}
	for name, answer := range map[string]wire.Answer{
		"answer_contents": wire.Contents([][]byte{some, nil, empty}),
		"answer_summary":  wire.Summary{Objects: 200, Bytes: 5_000_000_000}.Answer,
		"answer_error":    notFound.Answer,
	} {
		if got, want := text(wire.MsgPack.Encode(answer)), string(python(t, name, "msgpack")); got != want {
			t.Errorf("%s in msgpack: got %x, expected %x", name, got, want)
		}
		// JSON may differ in spaces and escapes.
		var got, want any
		if err := json.Unmarshal([]byte(text(wire.JSON.Encode(answer))), &got); err != nil {
			t.Errorf("%s in JSON: %v", name, err)
		}
		if err := json.Unmarshal(python(t, name, "json"), &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s in JSON: got %v, expected %v", name, got, want)
		}
	}
	for extension, format := range formats {
		contents, err := wire.Decode(format, python(t, "answer_contents", extension), wire.ReadContents)
		if err != nil || !reflect.DeepEqual(contents, [][]byte{some, nil, empty}) {
			t.Errorf("contents: %q, %v", contents, err)
		}
		summary, err := wire.Decode(format, python(t, "answer_summary", extension), wire.ReadSummary)
		if err != nil || summary != (wire.Summary{Objects: 200, Bytes: 5_000_000_000}) {
			t.Errorf("summary: %v, %v", summary, err)
		}
		e, err := wire.Decode(format, python(t, "answer_error", extension), wire.ReadError)
		if err != nil || e.Type != notFound.Type || e.Message != notFound.Message {
			t.Errorf("error: %+v, %v", e, err)
		}
	}
}

func text(body *wire.Body) string {
	var out strings.Builder
	if n, err := body.WriteTo(&out); err != nil || n != body.Len() || n != int64(out.Len()) {
		panic(fmt.Sprintf("wrote %d of %d bytes: %v", n, body.Len(), err))
	}
	return out.String()
}

// TestBase85 has its texts from Python's base64.b85encode.
func TestBase85(t *testing.T) {
	for content, digits := range map[string]string{
		"": "", "\xfa": "`T", "\xfa\xfb": "`uh", "\xfa\xfb\xfc": "`uqF", "\xfa\xfb\xfc\xfd": "`uqI-", "\xfa\xfb\xfc\xfd\xfe": "`uqI-{r",
		"\xff\xff\xff\xff\xff": "|NsC0{{", "\x00\x00\x00\x00\x00": "0000000",
	} {
		encoded := text(wire.JSON.Encode(wire.Content([]byte(content))))
		if encoded != `{"swhtype":"bytes","d":"`+digits+`"}` {
			t.Errorf("%q: %s", content, encoded)
		}
		if got, err := wire.Decode(wire.JSON, []byte(encoded), wire.ReadContent); err != nil || string(got) != content {
			t.Errorf("%s: %q, %v", encoded, got, err)
		}
	}
	for _, digits := range []string{"0", "000000", "|NsC1", "~~~~~", "00 00", "00\\00", "é00"} {
		if got, err := wire.Decode(wire.JSON, []byte(`{"swhtype":"bytes","d":"`+digits+`"}`), wire.ReadContent); err == nil {
			t.Errorf("%q was read as %x", digits, got)
		}
	}
	escaped := []byte(`{"d": "\u0060uqI\u002d{r", "swhtype": "bytes"}`)
	if got, err := wire.Decode(wire.JSON, escaped, wire.ReadContent); err != nil || string(got) != "\xfa\xfb\xfc\xfd\xfe" {
		t.Errorf("escaped digits: %x, %v", got, err)
	}
}

// TestNoCopies holds that contents are slices of the body when read, and referred to when written.
func TestNoCopies(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 1<<20)
	request := wire.Request{Contents: []wire.Object{{ID: keyOf(content), Content: content}}}
	body := []byte(text(request.Encode(wire.MsgPack)))
	got, err := wire.Decode(wire.MsgPack, body, wire.ReadRequest)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(body, content)
	if &got.Contents[0].Content[0] != &body[at] {
		t.Error("the content was copied out of the body")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_ = request.Encode(wire.MsgPack)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 100_000 {
		t.Errorf("encoding a content of 1 MiB allocated %d bytes", allocated)
	}
}
