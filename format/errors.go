// SPDX-License-Identifier: GPL-3.0-or-later

package format

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that the image does not hold the object, or does not hold it any more.
	ErrNotFound = errors.New("object not in this shard image")
	// ErrTooLarge says that the objects, or the index over them, do not fit the device.
	ErrTooLarge = errors.New("shard image does not fit its device")
	// ErrDuplicate says that an object was added twice.
	ErrDuplicate = errors.New("object added twice to a shard image")
	// ErrStaleHead says that a cached head does not lead to the object. Only the image
	// itself can say whether it holds the object.
	ErrStaleHead = errors.New("the cached head does not lead to the object")
	// ErrLayout says that two images do not have the same objects at the same places.
	ErrLayout = errors.New("the images have different layouts")
)

// DamageError says that an image differs from what its writer wrote.
type DamageError struct {
	Image  string
	Offset int64 // in bytes from the image's start, of what is wrong
	What   string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("shard image %s is damaged at byte %d: %s", e.Image, e.Offset, e.What)
}

// Damage is one damage of an image.
type Damage struct {
	ID ObjID // the object that cannot be read; zero where the damage is not one object's
	*DamageError
}
