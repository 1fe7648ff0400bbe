// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// replaceFile durably replaces the content of the file at path. An existing regular
// file keeps its mode, and after a failure its old content. A device or pipe is
// written to.
func replaceFile(path string, content []byte) (err error) {
	mode := fs.FileMode(0) // 0: the umask decides
	switch info, err := os.Stat(path); {
	case err == nil && !info.Mode().IsRegular():
		return writeTo(path, os.O_WRONLY, content, false)
	case err == nil:
		mode = info.Mode().Perm()
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	folder := filepath.Dir(path)
	temporary := filepath.Join(folder, ".wineryctl-"+rand.Text())
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	if err := writeTo(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, content, true); err != nil {
		return err
	}
	if mode != 0 {
		if err := os.Chmod(temporary, mode); err != nil {
			return err
		}
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDirectory(folder)
}

func writeTo(path string, flags int, content []byte, durable bool) error {
	f, err := os.OpenFile(path, flags, 0o666) //nolint:gosec // the operator names the file, and the umask decides its mode
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDirectory(path string) error {
	f, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
