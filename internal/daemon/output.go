// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"errors"
	"fmt"
	"os"
)

// checkedWriter is standard output. It remembers the first write that failed, so
// that no output is lost unnoticed.
type checkedWriter struct {
	w   *os.File
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(p)
	c.err = err
	return n, err
}

// close closes the output, for some file systems report a full disk only then.
// It returns err, joined with what failed of the output unless err says so.
func (c *checkedWriter) close(err error) error {
	closed := c.w.Close()
	if c.err == nil {
		c.err = closed
	}
	if c.err == nil || errors.Is(err, c.err) {
		return err
	}
	return errors.Join(err, fmt.Errorf("the output is incomplete: %w", c.err))
}
