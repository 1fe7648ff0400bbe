// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"winery/sharedbase"
)

// curl runs curl as the documentation shows it, and returns what it prints.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "curl", append([]string{"--silent", "--show-error"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %q: %v: %s", args, err, out)
	}
	return string(out)
}

// TestCurl stores, reads and lists objects as plain HTTP, and reads over it
// what came by the RPC.
func TestCurl(t *testing.T) {
	s := start(t, options(t))
	defer s.end()
	objects := "http://" + s.address + "/objects"
	content := bytes.Repeat([]byte("a plum\n"), 10_000)
	file := filepath.Join(t.TempDir(), "plums")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(content)
	id := hex.EncodeToString(key[:])
	other := []byte("a quince")
	otherID := sha256.Sum256(other)
	if err := connect(t, "http://"+s.address).Add(t.Context(), otherID, other); err != nil {
		t.Fatal(err)
	}
	first, second := id, hex.EncodeToString(otherID[:])
	if first > second {
		first, second = second, first
	}
	status := []string{"--output", "/dev/null", "--write-out", "%{http_code}"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{append(status, objects+"/"+id), "404"},
		{[]string{"--upload-file", file, objects + "/" + id}, "/objects/" + id + "\n"},
		{append(status, "--upload-file", file, objects+"/"+id), "204"},
		{append(status, "--upload-file", file, objects+"/"+strings.Repeat("0", 64)), "422"},
		{[]string{objects + "/" + id}, string(content)},
		{[]string{"--range", "7-12", objects + "/" + id}, "a plum"},
		{[]string{fmt.Sprintf("%s/%x", objects, otherID)}, string(other)},
		{append(status, "--header", `If-None-Match: "`+id+`"`, objects+"/"+id), "304"},
		{[]string{objects}, first + "\n" + second + "\n"},
		{[]string{objects + "?limit=1&after=" + first}, second + "\n"},
		{append(status, "--request", "DELETE", objects+"/"+id), "405"},
	} {
		if got := curl(t, c.args...); got != c.want {
			t.Errorf("curl %q: %.100q", c.args, got)
		}
	}
	if got, err := connect(t, "http://"+s.address).Get(t.Context(), key); err != nil || !bytes.Equal(got, content) {
		t.Errorf("by the RPC: %d bytes, %v", len(got), err)
	}
}

// TestListMany lists more ids than fit in the memory that it may take.
func TestListMany(t *testing.T) {
	const objects, group = 200_000, 20_000
	o := options(t)
	claim, err := o.Base.CreateShard(t.Context(), "shards")
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < objects; from += group {
		some := make([]sharedbase.Object, group)
		for i := range some {
			binary.BigEndian.PutUint32(some[i].ID[:], uint32(from+i+1))
			some[i].Content = []byte{}
		}
		if _, err := o.Base.Add(t.Context(), claim, some); err != nil {
			t.Fatal(err)
		}
	}
	if err := claim.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := start(t, o)
	defer s.end()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address+"/objects?limit=1000000", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	n, lowest := 0, [2]uint64{math.MaxUint64, math.MaxUint64} // bytes in use, in each half of the list
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		n++
		if want := fmt.Sprintf("%08x%056x", n, 0); lines.Text() != want {
			t.Fatalf("line %d is %s", n, lines.Text())
		}
		if n%(objects/10) == objects/20 {
			runtime.GC()
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			half := &lowest[n/(objects/2)]
			*half = min(*half, now.HeapAlloc)
		}
	}
	if lowest[1] > lowest[0]+2<<20 {
		t.Errorf("at least %d bytes are in use in the second half of the list, %d in the first", lowest[1], lowest[0])
	}
	if n != objects || response.Trailer.Get("Link") != "" {
		t.Errorf("%d ids; %v", n, response.Trailer)
	}
}
