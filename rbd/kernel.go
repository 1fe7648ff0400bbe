// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"winery/pool"
)

// linkPoll is how often udev's link to a new device is looked for.
const linkPoll = 100 * time.Millisecond

// kernel is the kernel's rbd driver of this host, for the images of one pool.
// Its errors carry the number that says what they mean.
type kernel struct {
	pool    string
	command []string // rbd, with sudo and the way to Ceph as needed
	options string   // for -o
	limit   time.Duration
	sys     string // /sys
	dev     string // /dev
	// ids returns the ids that Ceph has of the pool's images, by their names: at
	// least those of the images whose names begin with prefix.
	ids func(ctx context.Context, prefix string) (map[string]string, error)
}

func newKernel(s Settings, from location) *kernel {
	k := &kernel{pool: s.PoolName, options: s.MapOptions, limit: 3 * time.Minute, sys: "/sys", dev: "/dev"}
	if s.UseSudo && os.Geteuid() != 0 {
		k.command = []string{"sudo", "-n"}
	}
	k.command = append(k.command, "rbd", "--name", from.user, "--cluster", from.cluster)
	if from.conf != "" {
		k.command = append(k.command, "--conf", from.conf)
	}
	for _, option := range []string{
		// Without a mode the kernel speaks to the monitors' old ports only, which
		// new clusters need not have.
		"ms_mode=prefer-crc",
		// The kernel allocates its requests when it maps an image: of the default, 128
		// for each CPU, a host with thousands of images has no use.
		"queue_depth=8",
	} {
		key, _, _ := strings.Cut(option, "=")
		if !strings.Contains(k.options, key) {
			k.options = strings.TrimPrefix(k.options+","+option, ",")
		}
	}
	return k
}

// mapReadOnly maps an image unless it is mapped read-only already. A writable
// mapping, made by Reserve, is replaced.
func (k *kernel) mapReadOnly(ctx context.Context, name string) error {
	d, err := k.currentDevice(ctx, name)
	if err != nil || d != nil && d.readOnly {
		return err
	}
	if d != nil {
		if err := k.rbd(ctx, "device", "unmap", d.path); err != nil {
			return err
		}
	}
	return k.mapImage(ctx, name, "--read-only")
}

// mapWritable maps an image unless it is mapped already, read-only or not.
func (k *kernel) mapWritable(ctx context.Context, name string) error {
	d, err := k.currentDevice(ctx, name)
	if err != nil || d != nil {
		return err
	}
	return k.mapImage(ctx, name)
}

// currentDevice returns the device by which readers find an image, or nil. It
// unmaps one that shows an image of that name which was removed.
func (k *kernel) currentDevice(ctx context.Context, name string) (*device, error) {
	d, err := k.deviceOf(name)
	if err != nil || d == nil {
		return nil, err
	}
	ids, err := k.ids(ctx, name)
	if err != nil || d.isCurrent(ids) {
		return d, err
	}
	return nil, k.rbd(ctx, "device", "unmap", d.path)
}

// mapped returns the names of the images that are mapped read-only. A device of
// an image that was removed does not count.
func (k *kernel) mapped(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	devices, err := k.devices()
	if err != nil || len(devices) == 0 {
		return names, err
	}
	ids, err := k.ids(ctx, "")
	for _, d := range devices {
		if d.readOnly && d.isCurrent(ids) {
			names[d.image] = true
		}
	}
	return names, err
}

// mapImage maps an image, and returns nil when readers find its device. A device that
// readers do not find is unmapped again: no later attempt would find it either, and each
// would add another.
func (k *kernel) mapImage(ctx context.Context, name string, flags ...string) error {
	args := append([]string{"device", "map", "-o", k.options}, flags...)
	err := k.rbd(ctx, append(args, "--pool", k.pool, "--image", name)...)
	if _, missing := os.Stat(k.drivers()); err != nil && missing != nil {
		// The command's status would say that the image is missing.
		return fmt.Errorf("the kernel's rbd driver is not loaded; `modprobe rbd`, or set the pool's map to %s: %s", MapLibrbd, err.Error())
	}
	patience := min(grace, k.limit)
	if err != nil {
		patience = 0
	}
	noLink := k.awaitLink(ctx, name, patience)
	if noLink == nil || ctx.Err() != nil { // udev may make the link after the end of this process
		return cmp.Or(err, noLink)
	}
	mapped := err == nil
	notUnmapped := k.unmap(ctx, name, func(device) bool { mapped = true; return true })
	if !mapped { // so there is nothing that udev could make a link to
		noLink = nil
	}
	return errors.Join(err, noLink, notUnmapped)
}

// awaitLink returns nil when readers find the device of an image. A mapping that went well
// has waited for udev already, unless the pool's options have noudev.
func (k *kernel) awaitLink(ctx context.Context, name string, patience time.Duration) error {
	for end := time.Now().Add(patience); ; {
		if d, err := k.deviceOf(name); d != nil || err != nil {
			return err
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("%s does not lead to the device of the image, which is unmapped again; "+
				"does udev run on this host, with Ceph's rule 50-rbd.rules?", k.link(name))
		}
		if err := sleep(ctx, linkPoll); err != nil {
			return err
		}
	}
}

// unmap removes those devices of an image that match.
func (k *kernel) unmap(ctx context.Context, name string, match func(device) bool) error {
	devices, err := k.devices()
	for _, d := range devices {
		if d.image == name && match(d) {
			err = errors.Join(err, k.rbd(ctx, "device", "unmap", d.path))
		}
	}
	return err
}

// unmapWritable removes the devices by which this host could write to an image. It lists
// the devices only if readers find one that is writable: mapWritable leaves no other, and a
// mapper calls this repeatedly while a packer works.
func (k *kernel) unmapWritable(ctx context.Context, name string) error {
	d, err := k.deviceOf(name)
	if err != nil || d == nil || d.readOnly {
		return err
	}
	return k.unmap(ctx, name, func(d device) bool { return !d.readOnly })
}

// mappedImage is a device of the kernel, open for reading.
type mappedImage struct {
	*os.File
	size int64
}

func (m mappedImage) Size() int64 { return m.size }

// open opens the device of an image, which must be read-only.
func (k *kernel) open(name string) (pool.Image, error) {
	f, err := os.Open(k.link(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", pool.ErrNotMapped, err.Error()) // the image itself may exist
	}
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// What this host remembers of the image may be older than the image: objects
	// are erased in it, or restored, by others.
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if ro, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET); err != nil || ro == 0 {
		return nil, errors.Join(fmt.Errorf("%w: %s is not a read-only device", pool.ErrNotMapped, f.Name()), f.Close())
	}
	return mappedImage{f, size}, nil
}
