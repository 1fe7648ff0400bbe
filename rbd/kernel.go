// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"winery/pool"
)

// kernel is the kernel's rbd driver of this host, for the images of one pool.
// Its errors carry the number that says what they mean.
type kernel struct {
	pool    string
	command []string // rbd, with sudo and the way to Ceph as needed
	options string   // for -o
	limit   time.Duration
	sys     string // /sys
	dev     string // /dev
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
	// Without a mode the kernel speaks to the monitors' old ports only, which
	// new clusters need not have.
	if !strings.Contains(k.options, "ms_mode") {
		k.options = strings.TrimPrefix(k.options+",ms_mode=prefer-crc", ",")
	}
	return k
}

// mapReadOnly maps an image unless it is mapped read-only already. A writable
// mapping, made by Reserve, is replaced.
func (k *kernel) mapReadOnly(ctx context.Context, name string) error {
	devices, err := k.devicesOf(name)
	if err != nil {
		return err
	}
	mapped := false
	for _, d := range devices {
		if d.readOnly {
			mapped = true
		} else if err := k.rbd(ctx, "device", "unmap", d.path); err != nil {
			return err
		}
	}
	if mapped {
		return nil
	}
	return k.mapImage(ctx, name, "--read-only")
}

// mapWritable maps an image unless it is mapped already, whichever way.
func (k *kernel) mapWritable(ctx context.Context, name string) error {
	devices, err := k.devicesOf(name)
	if err != nil || len(devices) > 0 {
		return err
	}
	return k.mapImage(ctx, name)
}

func (k *kernel) mapImage(ctx context.Context, name string, flags ...string) error {
	args := append([]string{"device", "map", "-o", k.options}, flags...)
	err := k.rbd(ctx, append(args, "--pool", k.pool, "--image", name)...)
	if _, missing := os.Stat(k.drivers()); err != nil && missing != nil {
		// The command's status would say that the image is missing.
		return fmt.Errorf("the kernel's rbd driver is not loaded; `modprobe rbd`, or set the pool's map to %s: %s", MapLibrbd, err.Error())
	}
	return err
}

// unmap removes every device of an image.
func (k *kernel) unmap(ctx context.Context, name string) error {
	devices, err := k.devicesOf(name)
	for _, d := range devices {
		err = errors.Join(err, k.rbd(ctx, "device", "unmap", d.path))
	}
	return err
}

// rbd runs the rbd command. One that hangs is ended when the time is up; one
// that hangs inside the kernel cannot be, and is left behind.
func (k *kernel) rbd(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, k.limit, fmt.Errorf("no end after %v; are all monitors and OSDs up?", k.limit))
	defer cancel()
	argv := append(slices.Clone(k.command), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // no shell; names are checked
	// sudo hands SIGTERM on to the command, and cannot do so with SIGKILL.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	output, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &commandError{strings.Join(argv, " "), strings.TrimSpace(string(output)), err}
}

// commandError is a failed command. The rbd command exits with an error number
// as its status.
type commandError struct {
	command, output string
	err             error
}

func (e *commandError) Error() string { return fmt.Sprintf("%s: %v: %s", e.command, e.err, e.output) }

func (e *commandError) Unwrap() error { return e.err }

// ErrorCode gives errno the status; 1, sudo's and the shell's, means nothing.
func (e *commandError) ErrorCode() int {
	var exit *exec.ExitError
	if errors.As(e.err, &exit) && exit.ExitCode() > 1 {
		return exit.ExitCode()
	}
	return 0
}

// mappedImage is a device of the kernel, open for reading.
type mappedImage struct {
	*os.File
	size int64
}

func (m mappedImage) Size() int64 { return m.size }

// open opens the device of an image, which must be read-only.
func (k *kernel) open(name string) (pool.Image, error) {
	f, err := os.Open(filepath.Join(k.dev, "rbd", k.pool, name)) //nolint:gosec // names are checked
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
	if ro, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET); err != nil || ro == 0 {
		return nil, errors.Join(fmt.Errorf("%w: %s is not a read-only device", pool.ErrNotMapped, f.Name()), f.Close())
	}
	return mappedImage{f, size}, nil
}
