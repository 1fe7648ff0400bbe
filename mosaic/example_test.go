// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"winery/mosaic"
)

// An image is written to a file, flushed, verified and read.
func Example() {
	dir, err := os.MkdirTemp("", "mosaic")
	exitOn(err)
	defer func() { exitOn(os.RemoveAll(dir)) }()
	file, err := os.Create(filepath.Join(dir, "image"))
	exitOn(err)
	defer func() { exitOn(file.Close()) }()

	const content = "int main(void) { return 0; }\n"
	id := sha256.Sum256([]byte(content))
	zstd := mosaic.Format{Zstd: true, Level: 3}
	w, err := zstd.NewWriter(file, zstd.SizeBound(1, int64(len(content))))
	exitOn(err)
	exitOn(w.Add(id, int64(len(content)), strings.NewReader(content)))
	info, err := w.Finish()
	exitOn(err)
	exitOn(w.Close())
	exitOn(file.Sync())

	r, err := zstd.Open(file, info.Size, "image")
	exitOn(err)
	counts, err := r.Verify(context.Background(), nil)
	exitOn(err)
	_, read, err := r.GetUpTo(id, counts.Bytes)
	exitOn(err)
	fmt.Printf("%d object: %s", counts.Objects, read)
	// Output: 1 object: int main(void) { return 0; }
}

func exitOn(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
