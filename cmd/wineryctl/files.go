// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"winery/internal/httpapi/rpc/client"
)

// file is a file to store. err is not nil where the file cannot be read.
type file struct {
	path string
	size int64
	err  error
}

// files yields the named files, and the regular files in and below the named directories.
func files(names []string) iter.Seq[file] {
	return func(yield func(file) bool) {
		for _, name := range names {
			if !walk(name, yield) {
				return
			}
		}
	}
}

// walk yields the files of one name, and returns whether yield wants more files.
func walk(name string, yield func(file) bool) (more bool) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return yield(file{path: name, err: err})
	case info.Mode().IsRegular():
		return yield(file{path: name, size: info.Size()})
	case !info.IsDir():
		return yield(file{path: name, err: errors.New("neither a regular file nor a directory")})
	}
	more = true
	root := name + string(filepath.Separator) // follows a symbolic link
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.Type().IsRegular() {
			return nil
		}
		f := file{path: path, err: err}
		if err == nil {
			if info, f.err = entry.Info(); f.err == nil {
				f.size = info.Size()
			}
		}
		if more = yield(f); !more {
			return fs.SkipAll
		}
		return nil
	})
	return more
}

// read returns the content of the file as an object. A file of more than limit bytes is an error.
func (f file) read(limit int64) (client.Object, error) {
	if f.err != nil {
		return client.Object{}, f.err
	}
	if f.size > limit {
		return client.Object{}, fmt.Errorf("%d bytes are more than the limit of %d bytes (winery.max_object_size in the configuration)", f.size, limit)
	}
	content, err := os.ReadFile(f.path)
	return client.Object{ID: sha256.Sum256(content), Content: content}, err
}
