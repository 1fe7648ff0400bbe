// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"log/slog"

	"winery/sharedbase"
)

// A writer stores an object in a shard that it has locked, and a reader finds it.
func Example() {
	ctx := context.Background()
	base, err := sharedbase.New("service=winery", "example")
	exitOn(err)
	defer base.Close()
	_, err = base.Init(ctx) // of an empty database; another one stays as it is
	exitOn(err)

	claim, err := base.LockWritingShard(ctx, "shards")
	exitOn(err)
	defer func() { exitOn(claim.Release(ctx)) }()
	content := []byte("int main(void) { return 0; }\n")
	object := sharedbase.Object{ID: sha256.Sum256(content), Content: content}
	added, err := base.Add(ctx, claim, []sharedbase.Object{object}) // nil: the object is durable
	exitOn(err)

	found, err := base.Locate(ctx, []sharedbase.ObjID{object.ID})
	exitOn(err)
	fmt.Printf("%d new object, in shard %s\n", added.Objects, found[0].Shard)
}

// A role moves one shard from one state to the next. Where its work fails or its
// process dies, the shard returns to the state that it had.
func ExampleSharedBase_WithOneShard() {
	ctx := context.Background()
	base, err := sharedbase.New("service=winery", "example packer")
	exitOn(err)
	defer base.Close()

	var writeImage func(context.Context, *sharedbase.Claim) (sharedbase.ImageRecord, error)
	worked, err := base.WithOneShard(ctx, sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{},
		func(ctx context.Context, claim *sharedbase.Claim) error {
			record, err := writeImage(ctx, claim) // must stop when ctx ends: another process may have the shard then
			if err != nil {
				return err
			}
			return claim.Packed(ctx, record)
		})
	exitOn(err)
	fmt.Println("there was a shard to pack:", worked)
}

// Each statement is logged by its name before it is sent.
func ExampleWithObserver() {
	base, err := sharedbase.New("service=winery", "example", sharedbase.WithObserver(func(s sharedbase.Statement) {
		if !s.Done {
			slog.Debug("statement sent", "name", s.Name())
		}
	}))
	exitOn(err)
	defer base.Close()
}

func exitOn(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
