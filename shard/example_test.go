// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"winery/shard"
)

// An image is written to a file, flushed, verified and read.
func Example() {
	dir, err := os.MkdirTemp("", "shard")
	panicOn(err)
	defer func() { panicOn(os.RemoveAll(dir)) }()
	file, err := os.Create(filepath.Join(dir, "image"))
	panicOn(err)
	defer func() { panicOn(file.Close()) }()

	const content = "int main(void) { return 0; }\n"
	id := sha256.Sum256([]byte(content))
	swhshard := shard.Format{}
	w, err := swhshard.NewWriter(file, swhshard.SizeBound(1, int64(len(content))))
	panicOn(err)
	panicOn(w.Add(id, int64(len(content)), strings.NewReader(content)))
	info, err := w.Finish()
	panicOn(err)
	panicOn(w.Close())
	panicOn(file.Sync())

	r, err := swhshard.Open(file, info.Size, "image")
	panicOn(err)
	counts, err := r.Verify(context.Background(), nil)
	panicOn(err)
	_, read, err := r.GetUpTo(id, counts.Bytes)
	panicOn(err)
	fmt.Printf("%d object: %s", counts.Objects, read)
	// Output: 1 object: int main(void) { return 0; }
}

func panicOn(err error) {
	if err != nil {
		panic(err)
	}
}
