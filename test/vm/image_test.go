// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"winery/test/expect"
)

// An image that is used is not one that has not been used for a day, which the next image
// that is made would remove.
func TestImageInUse(t *testing.T) {
	sum := sha256.New()
	for _, path := range []string{"../../scripts/vm-image", "../../systemd/vm/init"} {
		part, err := os.ReadFile(path)
		expect.NoError(t, err)
		sum.Write(part)
	}
	fmt.Fprintln(sum, output(t, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"))
	cache := t.TempDir()
	image := filepath.Join(cache, fmt.Sprintf("%x", sum.Sum(nil))[:16])
	expect.NoError(t, os.Mkdir(image, 0o755))
	began := time.Now().Add(-time.Second)
	expect.NoError(t, os.Chtimes(image, time.Time{}, began.AddDate(0, 0, -2)))
	if got := output(t, "../../scripts/vm-image", cache); got != image {
		t.Fatalf("the image is %s, expected %s", got, image)
	}
	info, err := os.Stat(image)
	expect.NoError(t, err)
	if info.ModTime().Before(began) {
		t.Errorf("the image was last used at %v", info.ModTime())
	}
}
