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
	path     string
	readOnly bool
}

func (k *kernel) devicesOf(name string) ([]device, error) {
	all, err := k.devices()
	var of []device
	for _, d := range all {
		if d.image == name {
			of = append(of, d)
		}
	}
	return of, err
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
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue // unmapped since the list was read
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
	if namespace, err := attribute(dir, "pool_ns"); namespace != "" {
		return nil, err
	}
	image, err := attribute(dir, "name")
	if err != nil {
		return nil, err
	}
	ro, err := attribute(filepath.Join(k.sys, "block", "rbd"+id), "ro")
	if err != nil {
		return nil, err
	}
	return &device{image: image, path: filepath.Join(k.dev, "rbd"+id), readOnly: ro == "1"}, nil
}

func (k *kernel) drivers() string { return filepath.Join(k.sys, "bus/rbd/devices") }

func attribute(dir, file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, file)) //nolint:gosec // below /sys
	return strings.TrimSpace(string(b)), err
}
