// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"winery/format"
	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
)

// deletions is how many objects the path deletes.
const deletions = 5

// Report is what Path measured.
type Report struct {
	Source            *Source
	Write, Pack, Read Rate
	Deleted           int
	Shards            map[sharedbase.ShardState]int
	ImageBytes        int64 // of all images, as far as they are in use
	PackedBytes       int64 // of the images that packers made, as they say
	Images            int
}

// Path takes a source tree through every role and back: store, pack, map,
// clean, delete and erase, restart the writer, compare. It reports each step
// to say, and bytes done within a step to the function that step gives for its
// total.
func (f *Fleet) Path(ctx context.Context, src *Source, say func(string), step func(name string, total int64) func(bytes int)) (*Report, error) {
	r := &Report{Source: src, Deleted: deletions}
	for _, role := range []string{Packer, Mapper, Cleaner} {
		if _, err := f.Start(role); err != nil {
			return nil, err
		}
	}
	writer, err := f.StartWriter(ctx)
	if err != nil {
		return nil, err
	}
	if r.Write, err = src.Store(ctx, f.Client, step("store", src.Bytes)); err != nil {
		return nil, err
	}
	say("waiting until every full shard is read-only and its table gone")
	if err := f.WaitReadOnly(ctx); err != nil {
		return nil, err
	}
	say(fmt.Sprintf("deleting %d objects, waiting until they are erased from their images", deletions))
	gone, err := f.DeleteSome(ctx, src)
	if err != nil {
		return nil, err
	}
	say("restarting the writer")
	if err := writer.Stop(); err != nil {
		return nil, err
	}
	if _, err := f.StartWriter(ctx); err != nil {
		return nil, err
	}
	if r.Read, err = src.Compare(ctx, f.Client, gone, step("read back and compare", src.Bytes)); err != nil {
		return nil, err
	}
	return r, f.measure(ctx, r)
}

// WaitReadOnly waits until every shard that was filled is read-only and its
// table gone. Shards that are being written stay as they are.
func (f *Fleet) WaitReadOnly(ctx context.Context) error {
	return Until(ctx, func() (bool, error) {
		shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{})
		if err != nil {
			return false, err
		}
		for _, s := range shards {
			switch s.State {
			case sharedbase.StateStandby, sharedbase.StateWriting:
			case sharedbase.StateReadOnly:
				if _, _, err := f.Base.TableSize(ctx, s.Name); !errors.Is(err, sharedbase.ErrNoTable) {
					return false, fmt.Errorf("shard %s is read-only, but its table is still there (%w)", s.Name, err)
				}
			default:
				return false, nil
			}
		}
		return true, nil
	})
}

// DeleteSome deletes objects that are in images and waits until the cleaner
// has erased them there.
func (f *Fleet) DeleteSome(ctx context.Context, src *Source) (gone map[[32]byte]bool, err error) {
	gone = map[[32]byte]bool{}
	inImage := map[[32]byte]string{}
	for id := range src.Paths {
		at, err := f.Base.Locate(ctx, [][32]byte{id})
		if err != nil {
			return nil, err
		}
		if at[0].State != sharedbase.StateReadOnly {
			continue
		}
		if err := f.Client.Delete(ctx, id); err != nil {
			return nil, err
		}
		gone[id], inImage[id] = true, at[0].Shard
		if len(gone) == deletions {
			break
		}
	}
	for id, name := range inImage {
		if err := Until(ctx, func() (bool, error) { return f.erased(ctx, name, id) }); err != nil {
			return nil, fmt.Errorf("object %x in image %s: %w", id, name, err)
		}
	}
	return gone, nil
}

func (f *Fleet) erased(ctx context.Context, name string, id [32]byte) (bool, error) {
	image, err := f.Pool.Open(ctx, name)
	if err != nil {
		return false, err
	}
	defer image.Close()
	reader, err := f.Pool.Format().Open(image, image.Size(), name)
	if err != nil {
		return false, err
	}
	_, _, err = reader.GetUpTo(id, -1)
	switch damage := new(*format.DamageError); {
	case errors.Is(err, format.ErrNotFound):
		return true, nil
	case errors.As(err, damage):
		return false, nil // it is being erased in: the entry was read before, the object after
	}
	return false, err
}

// measure fills in what the database, the images and the packers' logs tell.
func (f *Fleet) measure(ctx context.Context, r *Report) error {
	shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{})
	if err != nil {
		return err
	}
	r.Shards = map[sharedbase.ShardState]int{}
	for _, s := range shards {
		r.Shards[s.State]++
		if !s.State.ImageAvailable() {
			continue
		}
		size, err := f.imageSize(ctx, s.Name)
		if err != nil {
			return err
		}
		r.Images, r.ImageBytes = r.Images+1, r.ImageBytes+size
	}
	for _, p := range f.processes {
		packed, err := p.Records("shard packed")
		if err != nil {
			return err
		}
		for _, record := range packed {
			r.Pack.Objects += int(record["objects"].(float64))
			r.Pack.Bytes += int64(record["bytes"].(float64))
			r.PackedBytes += int64(record["image_bytes"].(float64))
			seconds := record["write_seconds"].(float64) + record["verify_seconds"].(float64)
			r.Pack.Took += time.Duration(seconds * float64(time.Second))
		}
	}
	return nil
}

func (f *Fleet) imageSize(ctx context.Context, name string) (int64, error) {
	image, err := f.Pool.Open(ctx, name)
	if err != nil {
		return 0, err
	}
	defer image.Close()
	reader, err := f.Pool.Format().Open(image, image.Size(), name)
	if err != nil {
		return 0, err
	}
	return reader.Info().Size, nil
}

// mustBeGone turns what a Get of a deleted object answered into an error
// unless it was the right one.
func mustBeGone(id [32]byte, err error) error {
	switch {
	case errors.Is(err, client.ErrNotFound):
		return nil
	case err == nil:
		return fmt.Errorf("deleted object %x can still be read", id)
	default:
		return fmt.Errorf("deleted object %x: %w", id, err)
	}
}
