// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"
	"slices"

	"winery/sharedbase"
)

// believedSize is the size in bytes up to which a batch that is refused believes an image.
// Formats believe as much.
const believedSize = 64 << 20

// admitAll calls admit with the sum of the sizes of a batch's objects. If that is refused,
// the fault may be one flipped bit of a length in an image: admitAll has the content of the
// largest object hashed. If the content is damaged, that is the object's own error,
// and admit is called with the sum of the others.
func (r *Reader) admitAll(ctx context.Context, ids []sharedbase.ObjID, at []sharedbase.Location, found []Found, admit Admit) error {
	sizes, total := make([]int64, len(ids)), int64(0)
	err := each(ctx, at, found, func(ctx context.Context, i int) error {
		object, err := r.get(ctx, want{id: ids[i], part: size}, at[i])
		sizes[i] = object.Size
		return err
	})
	if err != nil {
		return err
	}
	for _, bytes := range sizes {
		total += bytes
	}
	for {
		refused := admit(total)
		if refused == nil || total <= believedSize {
			return refused
		}
		i := slices.Index(sizes, slices.Max(sizes))
		if sizes[i] <= believedSize {
			return refused
		}
		object, err := r.get(ctx, want{id: ids[i], part: hashed}, at[i])
		if object.Size >= sizes[i] || ofAll(ctx, err) != nil {
			return refused
		}
		found[i].Err = err
		total += object.Size - sizes[i]
		sizes[i] = object.Size
	}
}
