// SPDX-License-Identifier: GPL-3.0-or-later

package format

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// UnreadableError says which objects Erase left as they were, because the device cannot
// read them, or what must be read before they can be erased (EIO). All others are erased.
type UnreadableError struct {
	Image string
	IDs   []ObjID
	Err   error // of one of them
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("%d objects of image %s cannot be read, and were not erased, one of them %x: %v", len(e.IDs), e.Image, e.IDs[0], e.Err)
}

func (e *UnreadableError) Unwrap() error { return e.Err }

// Add adds objects, and why they were left.
func (e *UnreadableError) Add(err error, ids ...ObjID) { e.IDs, e.Err = append(e.IDs, ids...), err }

// OrNil returns e, or nil if it names no object.
func (e *UnreadableError) OrNil() error {
	if len(e.IDs) == 0 {
		return nil
	}
	return e
}

// Others returns those of ids that e does not name.
func (e *UnreadableError) Others(ids []ObjID) []ObjID {
	return slices.DeleteFunc(slices.Clone(ids), func(id ObjID) bool { return slices.Contains(e.IDs, id) })
}

// EachReadable calls lookUp for each object of an image, as [Each] does, to read first bytes
// before it knows the object's length: longRead at first, and shortRead where that is EIO,
// perhaps because of bytes that follow the object. It continues where lookUp returns EIO again,
// and returns these objects.
func EachReadable(ctx context.Context, concurrency int, image string, ids []ObjID, longRead, shortRead int,
	lookUp func(ctx context.Context, id ObjID, first int) error) (unreadable *UnreadableError, err error) {
	var mu sync.Mutex
	unreadable = &UnreadableError{Image: image}
	err = Each(ctx, concurrency, ids, func(ctx context.Context, id ObjID) error {
		err := lookUp(ctx, id, longRead)
		if errors.Is(err, unix.EIO) {
			err = lookUp(ctx, id, shortRead)
		}
		if !errors.Is(err, unix.EIO) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		unreadable.Add(err, id)
		return nil
	})
	return unreadable, err
}
