// SPDX-License-Identifier: GPL-3.0-or-later

package format

// Copy copies n bytes of one image to the same place in another, through buf, which
// must not be empty. read fills what it is given.
func Copy(read, write func(p []byte, at int64) error, at, n int64, buf []byte) error {
	for end := at + n; at < end; {
		block := buf[:min(int64(len(buf)), end-at)]
		if err := read(block, at); err != nil {
			return err
		}
		if err := write(block, at); err != nil {
			return err
		}
		at += int64(len(block))
	}
	return nil
}
