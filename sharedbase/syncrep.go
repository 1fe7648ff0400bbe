// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A commit whose wait for a synchronous standby is cancelled, by an operator or by a timeout, takes effect on
// the primary, and the server reports success with only a warning. This is not an acknowledgement. So every
// connection turns this warning into the error of the statement that committed, before pgx sees it: no caller
// can forget the check.

// errUnreplicated: the change is committed on the primary, and the synchronous standby may not have it.
var errUnreplicated = errors.New("committed on the primary, but the synchronous standby may not have it")

// syncRepRoutine is the server's function that waits for the standby. Unlike the warning's text, its name is not
// translated.
const syncRepRoutine = "SyncRepWaitForLSN"

// isUnreplicated recognises the warning, once it is an error. A server that shuts down sends it with another
// code.
func isUnreplicated(err *pgconn.PgError) bool { return err.Routine == syncRepRoutine }

// receiveBuffer is how many bytes of a server's answer are received at once: several objects of the usual size.
const receiveBuffer = 64 << 10

// newFrontend is [pgproto3.NewFrontend] for connections on which an unreplicated commit is an error.
func newFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(&commitWarnings{server: bufio.NewReaderSize(r, receiveBuffer)}, w)
}

// commitWarnings passes on what a server sends: messages of a byte for the kind, 32 bits for the length of the
// rest, big-endian, and the rest. Of a warning that a commit is not replicated it changes the kind to an error's,
// which has the same fields.
type commitWarnings struct {
	server *bufio.Reader
	left   int // bytes of the current message that were not passed on yet
}

const (
	kindNotice = 'N'
	kindError  = 'E'
)

// Read implements io.Reader.
func (c *commitWarnings) Read(p []byte) (int, error) {
	if c.left == 0 {
		header, err := c.server.Peek(5)
		if err != nil {
			return 0, err
		}
		c.left = 1 + int(binary.BigEndian.Uint32(header[1:]))
		if header[0] == kindNotice {
			// A notice that is larger than the buffer is another one: Peek gives a part of it.
			notice, err := c.server.Peek(c.left)
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return 0, err
			}
			if bytes.Contains(notice, []byte("\x00R"+syncRepRoutine+"\x00")) {
				notice[0] = kindError
			}
		}
	}
	n, err := c.server.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
