// SPDX-License-Identifier: GPL-3.0-or-later

// Package draftfile is how pools keep drafts of images as local files, in folders that
// belong to the users of the roles.
//
// A draft of image NAME is the file NAME.<uuid>.tmp, locked with flock(2) while the
// process that writes it lives. A draft whose lock can be taken is dead, and any
// process may remove it. A shared lock suffices: NFS 4 grants an exclusive one only on a
// file that is open for writing, which a draft's mode may forbid.
package draftfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// flock is changed by tests.
var flock = unix.Flock

// Create makes an empty draft of an image in folder, and locks it. mode is subject to
// the umask. What root makes belongs to the owner of the folder, whose processes read it.
func Create(folder, name string, mode fs.FileMode) (*os.File, error) {
	for {
		path := filepath.Join(folder, name+"."+uuid.NewString()+".tmp")
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // below the pool's directory
		if err != nil {
			return nil, err
		}
		if err := errors.Join(GiveAway(f), flock(int(f.Fd()), unix.LOCK_EX)); err != nil {
			return nil, errors.Join(err, Remove(f))
		}
		// A RemoveDead elsewhere may have come between making and locking.
		if _, err := os.Lstat(path); err == nil {
			return f, nil
		}
		f.Close()
	}
}

// Remove removes a draft's file and closes it.
func Remove(f *os.File) error {
	err := os.Remove(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// RemoveDead removes the drafts in folder, of all images, whose process has died. It
// fails if a draft's lock can be neither taken nor found taken.
func RemoveDead(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isDraft(e.Name()) {
			continue
		}
		f, err := os.Open(filepath.Join(folder, e.Name())) //nolint:gosec // below the pool's directory
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // another process removed, committed or created it: in each case no obstacle
		}
		if err != nil {
			return err
		}
		switch err = flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
		case err == nil:
			err = Remove(f)
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.ESTALE): // alive; or removed by another host
			err = f.Close()
		default:
			err = errors.Join(&fs.PathError{Op: "lock", Path: f.Name(), Err: err}, f.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isDraft reports whether a file is called as Create calls drafts.
func isDraft(file string) bool {
	name, rest, _ := strings.Cut(file, ".")
	id, draft := strings.CutSuffix(rest, ".tmp")
	return draft && pool.CheckName(name) == nil && uuid.Validate(id) == nil
}

// MakeFolder creates a folder whose mode and owner depend neither on the umask nor on
// the user of this process.
func MakeFolder(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	f, err := os.Open(path) //nolint:gosec // the pool's folder, or below it
	if err != nil {
		return err
	}
	err = GiveAway(f)
	if errors.Is(err, fs.ErrPermission) {
		err = nil // others can read it
	}
	return errors.Join(f.Chmod(mode), err, f.Close())
}

// GiveAway gives a file that root made to the owner of the folder that it is in. It changes
// the open file, not what has its name by then. fs.ErrPermission if root may not: a mapper
// without CAP_CHOWN, or root on NFS with root_squash.
func GiveAway(f *os.File) error {
	folder, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner, ok := folder.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}

// Room is the space in the file system of folder, without what is reserved for root.
func Room(folder string) (pool.Space, error) {
	var stat unix.Statfs_t
	err := unix.Statfs(folder, &stat)
	used := int64(stat.Blocks) - int64(stat.Bfree)
	return pool.Space{Free: int64(stat.Bavail) * stat.Bsize, Total: (used + int64(stat.Bavail)) * stat.Bsize}, err
}
