// SPDX-License-Identifier: GPL-3.0-or-later

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
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
	exitOn(err)
	defer func() { exitOn(os.RemoveAll(base)) }()
	p, err := directory.New(directory.Settings{BaseDirectory: base, PoolName: "shards"})
	exitOn(err)
	exitOn(p.Init(ctx))

	var proof pool.ReplaceProof = pooltest.Anything{} // a packer's is its claim to the shard
	draft, err := p.Create(ctx, "image", 1<<20, proof)
	exitOn(err)
	defer func() { exitOn(draft.Abort(ctx)) }() // does nothing after Commit
	_, err = draft.WriteAt([]byte("content"), 0)
	exitOn(err)
	_, err = p.Open(ctx, "image")
	fmt.Println("visible before the commit:", !errors.Is(err, pool.ErrNotFound))
	exitOn(draft.Commit(ctx))

	image, err := p.Open(ctx, "image")
	exitOn(err)
	defer func() { exitOn(image.Close()) }()
	content, err := io.ReadAll(io.NewSectionReader(image, 0, image.Size()))
	exitOn(err)
	fmt.Printf("image of %d bytes: %s\n", image.Size(), content)
	// Output:
	// visible before the commit: false
	// image of 7 bytes: content
}

func exitOn(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
