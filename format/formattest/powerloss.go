// SPDX-License-Identifier: GPL-3.0-or-later

package formattest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
)

// PowerLoss is a device that loses power after some writes and flushes: of the
// writes since the last flush it keeps any.
type PowerLoss struct {
	Device          // as a reader sees it
	Kept    Device  // as of the last flush
	Since   []Write // written after it
	Left    int     // writes and flushes until the power fails
	Flushes int     // that succeeded
}

// Write is a write that no flush has followed yet.
type Write struct {
	At int64
	P  []byte
}

var errPower = errors.New("no power")

// WriteAt implements [format.Device].
func (l *PowerLoss) WriteAt(p []byte, at int64) (int, error) {
	if l.Left--; l.Left < 0 {
		return 0, errPower
	}
	l.Since = append(l.Since, Write{at, bytes.Clone(p)})
	return l.Device.WriteAt(p, at)
}

// Flush implements [format.Device].
func (l *PowerLoss) Flush() error {
	if l.Left--; l.Left < 0 {
		return errPower
	}
	l.Flushes++
	l.Kept, l.Since = bytes.Clone(l.Device), nil
	return nil
}

// Afterwards returns what the device holds once the power is back: of each write
// since the last flush all, nothing, or some of its sectors.
func (l *PowerLoss) Afterwards(random *rand.Rand) Device {
	d := bytes.Clone(l.Kept)
	for _, w := range l.Since {
		for sector := range slices.Chunk(w.P, 512) {
			if random.IntN(2) == 0 {
				copy(d[w.At:], sector)
			}
			w.At += int64(len(sector))
		}
	}
	return d
}
