// SPDX-License-Identifier: GPL-3.0-or-later

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"winery/pool"
	"winery/pool/directory"
	"winery/pool/pooltest"
)

// An image is written, committed and read in a pool of files. Another process that
// creates the image again would replace it only by a proof that nothing is lost.
func Example() {
	ctx := context.Background()
	base, err := os.MkdirTemp("", "pool")
	panicOn(err)
	defer func() { panicOn(os.RemoveAll(base)) }()
	p, err := directory.New(directory.Settings{BaseDirectory: base, PoolName: "shards"})
	panicOn(err)
	panicOn(p.Init(ctx))

	var proof pool.ReplaceProof = pooltest.Anything{} // a packer's is its claim to the shard
	draft, err := p.Create(ctx, "image", 1<<20, proof)
	panicOn(err)
	defer func() { panicOn(draft.Abort(ctx)) }() // does nothing after Commit
	_, err = draft.WriteAt([]byte("content"), 0)
	panicOn(err)
	_, err = p.Open(ctx, "image")
	fmt.Println("visible before the commit:", !errors.Is(err, pool.ErrNotFound))
	panicOn(draft.Commit(ctx))

	image, err := p.Open(ctx, "image")
	panicOn(err)
	defer func() { panicOn(image.Close()) }()
	content, err := io.ReadAll(io.NewSectionReader(image, 0, image.Size()))
	panicOn(err)
	fmt.Printf("image of %d bytes: %s\n", image.Size(), content)
	// Output:
	// visible before the commit: false
	// image of 7 bytes: content
}

func panicOn(err error) {
	if err != nil {
		panic(err)
	}
}
