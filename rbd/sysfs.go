// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// device is an image as the kernel has it mapped.
type device struct {
	image    string
	imageID  string // "" where the kernel or the image's format has none
	path     string
	readOnly bool
}

// isCurrent reports whether the device shows the image that has its name now. The
// image of a device can be removed, and another one made under its name.
func (d *device) isCurrent(ids map[string]string) bool {
	return d.imageID == "" || d.imageID == ids[d.image]
}

// deviceOf returns the device by which readers find an image, or nil. It reads
// only that device: a host that maps thousands of images one by one cannot list
// all devices for each.
func (k *kernel) deviceOf(name string) (*device, error) {
	target, err := os.Readlink(k.link(name))
	if err == nil {
		var d *device
		if d, err = k.device(strings.TrimPrefix(filepath.Base(target), "rbd")); d != nil && d.image == name {
			return d, nil
		}
	}
	if gone(err) {
		return nil, nil
	}
	return nil, err
}

// devices lists the pool's images that are mapped, in one pass over the
// kernel's list of devices.
func (k *kernel) devices() ([]device, error) {
	entries, err := os.ReadDir(k.drivers())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // no driver, no device
	}
	if err != nil {
		return nil, err
	}
	var devices []device
	for _, e := range entries {
		d, err := k.device(e.Name())
		if gone(err) {
			continue // since the list was read
		}
		if err != nil {
			return nil, err
		}
		if d != nil {
			devices = append(devices, *d)
		}
	}
	return devices, nil
}

// device reads what the kernel says of one device: nil if it is not an image
// of this pool.
func (k *kernel) device(id string) (*device, error) {
	dir := filepath.Join(k.drivers(), id)
	for file, want := range map[string]string{"pool": k.pool, "current_snap": "-"} {
		got, err := attribute(dir, file)
		if err != nil || got != want {
			return nil, err
		}
	}
	// Kernels before 4.19 have no namespaces, and no such file.
	if namespace, _ := attribute(dir, "pool_ns"); namespace != "" {
		return nil, nil
	}
	image, err := attribute(dir, "name")
	if err != nil {
		return nil, err
	}
	imageID, err := attribute(dir, "image_id")
	if err != nil && !gone(err) {
		return nil, err
	}
	ro, err := attribute(filepath.Join(k.sys, "block", "rbd"+id), "ro")
	if err != nil {
		return nil, err
	}
	return &device{image: image, imageID: imageID, path: filepath.Join(k.dev, "rbd"+id), readOnly: ro == "1"}, nil
}

// gone means that the device is not, or no longer, mapped.
func gone(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) }

// link is the name that udev gives an image's device.
func (k *kernel) link(name string) string { return filepath.Join(k.dev, "rbd", k.pool, name) }

func (k *kernel) drivers() string { return filepath.Join(k.sys, "bus/rbd/devices") }

func attribute(dir, file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, file)) //nolint:gosec // below /sys
	return strings.TrimSpace(string(b)), err
}
