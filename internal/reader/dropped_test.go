// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"crypto/sha256"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"winery/test/expect"
	"winery/test/logtest"
)

// TestHangingImageIsDropped: an image that hangs loses its place to others and is opened
// again, time after time. It takes one slot of its pool as before, and counts once.
func TestHangingImageIsDropped(t *testing.T) {
	large, little := make([]byte, 1<<20), []byte("little")
	two := imagesOf(t, map[string][]byte{"one": large, "two": little})
	synctest.Test(t, func(t *testing.T) {
		p := &largeReadsHang{Pool: two, release: make(chan struct{})}
		logs := new(logtest.Log)
		c := newImages(Options{CacheSize: 1, Log: logs.Logger(slog.LevelInfo)})
		read := func(image string, content []byte) error {
			w := want{id: sha256.Sum256(content), part: whole, bytes: int64(len(content))}
			_, err := c.get(t.Context(), p, image, w, time.Time{})
			return err
		}
		for range 3 {
			if err := read("one", large); !errors.Is(err, ErrImageUnavailable) {
				t.Errorf("the image hangs: %v", err)
			}
			expect.NoError(t, read("two", little))
		}
		synctest.Wait()
		if calls, slots := p.hanging.Load(), len(c.slots["shards"].calls); calls != 1 || slots != 1 {
			t.Errorf("%d calls hang, and %d slots of the pool are taken", calls, slots)
		}
		if lines := logs.Lines("image does not answer"); c.hanging["shards"] != 1 || len(lines) != 1 {
			t.Errorf("%d images hang, and the log has %q", c.hanging["shards"], lines)
		}
		close(p.release)
		synctest.Wait()
		expect.NoError(t, read("one", large))
		if lines := logs.Lines("image answers again"); c.hanging["shards"] != 0 || len(lines) != 1 {
			t.Errorf("%d images hang, and the log has %q", c.hanging["shards"], lines)
		}
		c.close()
		if len(c.gates) > 0 {
			t.Errorf("%d gates are left", len(c.gates))
		}
	})
}
