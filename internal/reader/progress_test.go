// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"winery/pool"
	"winery/test/expect"
	"winery/test/logtest"
)

// TestSlowImage: an object takes far longer to read than an image may be silent, but its
// bytes keep coming.
func TestSlowImage(t *testing.T) {
	content := make([]byte, 65<<20) // which is read twice
	images := imagesOf(t, map[string][]byte{"one": content})
	synctest.Test(t, func(t *testing.T) {
		logs := new(logtest.Log)
		c := newImages(Options{CacheSize: 1, Log: logs.Logger(slog.LevelInfo)})
		began := time.Now()
		w := want{id: sha256.Sum256(content), part: whole, bytes: int64(len(content))}
		found, err := c.get(t.Context(), slowReads{images}, "one", w, time.Time{})
		if err != nil || !bytes.Equal(found.Bytes, content) {
			t.Errorf("%d bytes, %v", len(found.Bytes), err)
		}
		if took := time.Since(began); took < 10*defaultHangAfter || logs.String() != "" {
			t.Errorf("the read took %v; the log has:\n%s", took, logs)
		}
		c.close()
	})
}

// slowReads reads a MiB in a second.
type slowReads struct{ pool.Pool }

func (p slowReads) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	image, err := p.Pool.OpenMapped(ctx, name)
	return slowImage{image}, err
}

type slowImage struct{ pool.Image }

func (i slowImage) ReadAt(b []byte, at int64) (int, error) {
	time.Sleep(time.Duration(len(b)) * time.Second >> 20)
	return i.Image.ReadAt(b, at)
}

// TestAnotherSecondReading: an object that is read twice has other bytes the second time.
func TestAnotherSecondReading(t *testing.T) {
	content := make([]byte, 65<<20)
	p := changingReads{imagesOf(t, map[string][]byte{"one": content})}
	c := newImages(Options{CacheSize: 1, Log: slog.New(slog.DiscardHandler)})
	w := want{id: sha256.Sum256(content), part: whole, bytes: int64(len(content))}
	if _, err := c.get(t.Context(), p, "one", w, time.Time{}); !errors.Is(err, errDigest) {
		t.Errorf("other bytes: %v", err)
	}
	c.close()
}

// changingReads changes a bit of each read as large as those of the second reading.
type changingReads struct{ pool.Pool }

func (p changingReads) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	image, err := p.Pool.OpenMapped(ctx, name)
	return changingImage{image}, err
}

type changingImage struct{ pool.Image }

func (i changingImage) ReadAt(b []byte, at int64) (int, error) {
	n, err := i.Image.ReadAt(b, at)
	if n == readSize {
		b[n/2] ^= 1
	}
	return n, err
}

// TestAnswerWithinCall: a read within a call that was silent for too long ends that the
// image hangs; silence makes it hang again.
func TestAnswerWithinCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(&slots{calls: make(chan struct{}, 1)}, time.Minute, func(bool, int, time.Duration) {})
		hangs := func(want bool, when string) {
			t.Helper()
			synctest.Wait()
			select {
			case <-g.hung:
				if !want {
					t.Errorf("the image hangs %s", when)
				}
			default:
				if want {
					t.Errorf("the image does not hang %s", when)
				}
			}
		}
		one, err := g.enter(t.Context(), g.hung)
		expect.NoError(t, err)
		time.Sleep(time.Minute - time.Nanosecond)
		hangs(false, "before its time")
		g.answer()
		time.Sleep(time.Minute - time.Nanosecond)
		hangs(false, "before its time after an answer")
		time.Sleep(time.Nanosecond)
		hangs(true, "after a minute of silence")
		g.answer()
		hangs(false, "after an answer")
		time.Sleep(time.Minute)
		hangs(true, "after another minute of silence")
		g.leave(one)
		hangs(false, "after the call")
	})
}

// TestPieces: an image reads the same in pieces, also where it ends, or fails.
func TestPieces(t *testing.T) {
	content := []byte(strings.Repeat("sixteen.", (2*readSize+8)/8))
	src := progress{bytes.NewReader(content), newGate(nil, time.Minute, nil)}
	for _, c := range []struct {
		length, at, want int64
		err              error
	}{
		{0, 0, 0, nil}, {readSize, 1, readSize, nil}, {readSize + 1, 3, readSize + 1, nil}, {2*readSize + 8, 0, 2*readSize + 8, nil},
		{2*readSize + 8, 1, 2*readSize + 7, io.EOF}, {readSize, 2 * readSize, 8, io.EOF}, {1, 3 * readSize, 0, io.EOF},
	} {
		b := make([]byte, c.length)
		n, err := src.ReadAt(b, c.at)
		if int64(n) != c.want || !errors.Is(err, c.err) || !bytes.Equal(b[:n], content[min(c.at, int64(len(content))):][:n]) {
			t.Errorf("%d bytes at %d: %d, %v", c.length, c.at, n, err)
		}
	}
}
