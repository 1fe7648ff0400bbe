// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Of all messages, in pieces of any size, only the one warning changes, and that by a byte.
func TestCommitWarnings(t *testing.T) {
	message := func(kind byte, body string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
	}
	warning := "SWARNING\x00C01000\x00Mcanceled\x00RSyncRepWaitForLSN\x00\x00"
	sent := bytes.Join([][]byte{
		message('D', warning), message('N', strings.Replace(warning, "SyncRep", "Other", 1)),
		message('N', strings.Repeat("x", 10_000)), message('Z', "I"), message('N', warning), message('2', ""),
	}, nil)
	want := bytes.Clone(sent)
	want[len(want)-len(message('N', warning))-5] = 'E'
	for name, reader := range map[string]io.Reader{
		"whole": bytes.NewReader(sent), "halves": iotest.HalfReader(bytes.NewReader(sent)), "bytes": iotest.OneByteReader(bytes.NewReader(sent)),
	} {
		got, err := io.ReadAll(&commitWarnings{server: bufio.NewReader(reader)})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}
