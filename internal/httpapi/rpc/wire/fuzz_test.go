// SPDX-License-Identifier: GPL-3.0-or-later

package wire_test

import (
	"bytes"
	"encoding/ascii85"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"unicode/utf8"

	"winery/internal/httpapi/rpc/wire"
)

func FuzzMsgPackRequest(f *testing.F) { fuzzRequest(f, "msgpack") }
func FuzzJSONRequest(f *testing.F)    { fuzzRequest(f, "json") }
func FuzzMsgPackAnswer(f *testing.F)  { fuzzAnswer(f, "msgpack") }
func FuzzJSONAnswer(f *testing.F)     { fuzzAnswer(f, "json") }

// fuzzRequest decodes anything; what is understood must survive being encoded and decoded again, in either format.
func fuzzRequest(f *testing.F, extension string) {
	addMessages(f, extension)
	for _, h := range hostile {
		if h.format == extension && len(h.body) < 1000 {
			f.Add([]byte(h.body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		request, ok := decode(t, formats[extension], body, wire.ReadRequest)
		if !ok || !utf8Names(request.ObjID) {
			return
		}
		for name, format := range formats {
			again, err := wire.Decode(format, []byte(text(request.Encode(format))), wire.ReadRequest)
			if err != nil {
				t.Fatalf("%+v does not survive %s: %v", request, name, err)
			}
			again.CheckPresence, again.CheckWrite = request.CheckPresence, request.CheckWrite
			if !reflect.DeepEqual(again, request) {
				t.Fatalf("%+v came back from %s as %+v", request, name, again)
			}
		}
	})
}

// utf8Names reports whether all names are UTF-8; others are mended on the way out.
func utf8Names(id wire.ObjID) bool {
	for _, hash := range id {
		if !utf8.ValidString(hash.Name) {
			return false
		}
	}
	return true
}

// fuzzAnswer does the same with each kind of answer.
func fuzzAnswer(f *testing.F, extension string) {
	addMessages(f, extension)
	for _, answer := range []wire.Answer{wire.Null, wire.Bool(true), wire.Content(some), wire.Summary{Objects: -1, Bytes: 1 << 40}.Answer} {
		f.Add([]byte(text(formats[extension].Encode(answer))))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		format := formats[extension]
		if v, ok := decode(t, format, body, wire.Decoder.Bool); ok {
			survives(t, v, wire.Bool(v), wire.Decoder.Bool)
		}
		if v, ok := decode(t, format, body, wire.ReadContent); ok {
			survives(t, v, wire.Content(v), wire.ReadContent)
		}
		if v, ok := decode(t, format, body, wire.ReadContents); ok {
			survives(t, v, wire.Contents(v), wire.ReadContents)
		}
		if v, ok := decode(t, format, body, wire.ReadSummary); ok {
			survives(t, v, v.Answer, wire.ReadSummary)
		}
		if v, ok := decode(t, format, body, wire.ReadError); ok && utf8.ValidString(v.Type+v.Message) {
			survives(t, v, v.Answer, wire.ReadError)
		}
		_, _ = decode(t, format, body, wire.ReadNull)
	})
}

// survives holds that v, encoded by answer, is v again, in either format.
func survives[T any](t *testing.T, v T, answer wire.Answer, read func(wire.Decoder) (T, error)) {
	t.Helper()
	for name, format := range formats {
		again, err := wire.Decode(format, []byte(text(format.Encode(answer))), read)
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("%#v came back from %s as %#v, %v", v, name, again, err)
		}
	}
}

// decode fails the test where decoding changes the body, or takes memory out of proportion to it.
func decode[T any](t *testing.T, format wire.Format, body []byte, read func(wire.Decoder) (T, error)) (T, bool) {
	t.Helper()
	before := bytes.Clone(body)
	memory := allocated()
	v, err := wire.Decode(format, body, read)
	if limit := uint64(128*len(body) + 256<<10); allocated()-memory > limit {
		// It may be what others allocated earlier: look again, and closely.
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		_, _ = wire.Decode(format, body, read)
		runtime.ReadMemStats(&end)
		if got := end.TotalAlloc - start.TotalAlloc; got > limit {
			t.Fatalf("decoding %d bytes took %d bytes of memory", len(body), got)
		}
	}
	if !bytes.Equal(before, body) {
		t.Fatal("decoding changed the body")
	}
	return v, err == nil
}

// allocated is what was ever allocated, quickly told; small objects are counted late.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// addMessages adds what Python writes, requests and answers.
func addMessages(f *testing.F, extension string) {
	seeds, err := filepath.Glob("testdata/python/*." + extension)
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, seed := range seeds {
		data, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// FuzzRequest makes a request of anything; it must come back from either format as it was.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("content"), "sha256", []byte("sum"), uint8(3), true)
	f.Add(bytes.Repeat([]byte("large"), 1000), "\u2603\"\\", []byte{}, uint8(0), false)
	f.Fuzz(func(t *testing.T, content []byte, name string, sum []byte, n uint8, flag bool) {
		content, sum = append([]byte{}, content...), append([]byte{}, sum...) // not nil
		key, name := keyOf(sum), short(name)
		one := wire.ObjID{{Name: name, Sum: sum}, {Name: "sha256", Sum: key[:]}, {Name: name, Sum: nil}}
		one = one[:n%4]
		for _, want := range []wire.Request{
			{ObjID: one, Content: content, CheckPresence: flag},
			{ObjID: one, CheckPresence: true},
			{Contents: repeat(wire.Object{ID: key, Content: content}, n%5), CheckPresence: flag},
			{ObjIDs: repeat(key, n), CheckPresence: true},
			{CheckPresence: true, CheckWrite: flag},
		} {
			for i, hash := range want.ObjID {
				want.ObjID[i].Name = strings.ToValidUTF8(hash.Name, "?")
			}
			for extension, format := range formats {
				got, err := wire.Decode(format, []byte(text(want.Encode(format))), wire.ReadRequest)
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("%+v came back from %s as %+v, %v", want, extension, got, err)
				}
			}
		}
	})
}

func repeat[T any](v T, n uint8) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = v
	}
	return all
}

// short returns what may be a name: longer ones are refused.
func short(name string) string { return name[:min(len(name), 128)] }

// FuzzBase85 compares the digits with those of another implementation, with Adobe's alphabet translated into
// Python's.
func FuzzBase85(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\x00\x00\x00\x00", "\xff\xff\xff\xff\xff", "`uqI-{r", "00000", "|NsC1", "~~~~~", "0"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		digits := text(wire.JSON.Encode(wire.Content(data)))
		if want := `{"swhtype":"bytes","d":"` + translated(data) + `"}`; digits != want {
			t.Fatalf("%x: %s, expected %s", data, digits, want)
		}
		if got, err := wire.Decode(wire.JSON, []byte(digits), wire.ReadContent); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%x came back as %x, %v", data, got, err)
		}
		// And as digits: what they stand for must stand for itself.
		quoted, err := json.Marshal(string(data))
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.Decode(wire.JSON, []byte(`{"swhtype":"bytes","d":`+string(quoted)+`}`), wire.ReadContent)
		if err != nil {
			return
		}
		if len(got) != len(data)*4/5 {
			t.Fatalf("%d digits were read as %d bytes", len(data), len(got))
		}
		if whole := len(data) / 5 * 5; translated(got[:whole/5*4]) != string(data[:whole]) {
			t.Fatalf("%s was read as %x", data, got)
		}
	})
}

// translated is the base 85 of data.
func translated(data []byte) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
	out := make([]byte, ascii85.MaxEncodedLen(len(data)))
	out = out[:ascii85.Encode(out, data)]
	var b strings.Builder
	for _, c := range out {
		if c == 'z' { // four zeros, abbreviated
			b.WriteString("00000")
		} else {
			b.WriteByte(digits[c-'!'])
		}
	}
	return b.String()
}

// FuzzObjID reads an id of any hashes.
func FuzzObjID(f *testing.F) {
	key := keyOf(some)
	f.Add("sha256", key[:], "sha1", []byte("x"))
	f.Add("sha1", []byte{}, "sha256", key[1:])
	f.Add("sha256", key[:], "sha256", []byte("another"))
	f.Fuzz(func(t *testing.T, name string, sum []byte, other string, otherSum []byte) {
		name, other = short(name), short(other)
		id := wire.ObjID{{Name: name, Sum: sum}, {Name: other, Sum: otherSum}, {Name: "blake2s256"}}
		if !utf8Names(id) {
			return
		}
		want, wantErr := id.SHA256()
		named := sum
		if other == "sha256" {
			named = otherSum
		}
		if is := (name == "sha256" || other == "sha256") && len(named) == 32; is != (wantErr == nil) || is && !bytes.Equal(want[:], named) {
			t.Fatalf("%q: %x, %v", id, want, wantErr)
		}
		for extension, format := range formats {
			request, err := wire.Decode(format, []byte(text(wire.Request{ObjID: id}.Encode(format))), wire.ReadRequest)
			if err != nil || !reflect.DeepEqual(request.ObjID, id) {
				t.Fatalf("%q came back from %s as %q, %v", id, extension, request.ObjID, err)
			}
			batch := format.Encode(func(e wire.Encoder) { // of what a batch takes of it
				e.Object(1)
				e.Key("obj_ids")
				e.Array(1)
				e.Object(len(id))
				for _, hash := range id {
					e.Key(hash.Name)
					e.Bytes(hash.Sum)
				}
				e.End()
				e.End()
				e.End()
			})
			request, err = wire.Decode(format, []byte(text(batch)), wire.ReadRequest)
			if (err == nil) != (wantErr == nil) || err == nil && request.ObjIDs[0] != want {
				t.Fatalf("%q in a batch, in %s: %x, %v; alone %x, %v", id, extension, request.ObjIDs, err, want, wantErr)
			}
		}
	})
}
