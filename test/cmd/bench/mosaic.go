// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"winery/format"
	"winery/internal/load"
	"winery/mosaic"
	"winery/test/harness"
)

const (
	// erasedObjects is how many objects of an image are erased.
	erasedObjects = 1000
	// erasedEach is how many objects swh.mosaic erases as Python Winery has it do: it
	// opens the image for each of them.
	erasedEach = 50
)

// mosaics measures the packages mosaic and swh.mosaic on the files of a source tree.
func (b *bench) mosaics(ctx context.Context) error {
	tree, err := harness.ReadSource(filepath.Join(runtime.GOROOT(), "src"))
	if err != nil {
		return err
	}
	m := &mosaicBench{bench: b, path: filepath.Join(b.dir, "go.mosaic"), pythons: filepath.Join(b.dir, "python.mosaic")}
	files, err := m.readObjects(tree)
	if err != nil {
		return err
	}
	python := func(action string, args ...string) work {
		return func(ctx context.Context) (load.Result, usage, error) {
			if action == "write" {
				_ = os.Remove(m.pythons) // it may not exist
			}
			out, err := command(ctx, b.python, append([]string{filepath.Join(b.root, "test/cmd/bench/testdata/mosaic.py"), action, m.pythons, files}, args...)...)
			if err != nil {
				return load.Result{}, usage{}, err
			}
			var result load.Result
			var took, cpu float64
			_, err = fmt.Sscan(out, &result.Objects, &result.Bytes, &took, &cpu)
			result.Took = time.Duration(took * float64(time.Second))
			return result, usage{cpu: time.Duration(cpu * float64(time.Second))}, err
		}
	}
	erase := after(here(m.write), here(m.erase))
	rows := []row{
		{what: "mosaic of source files, zstd 3: writing (Go: flushed and verified; Python: neither)", bytes: true, ours: here(m.write), python: python("write"), extra: m.sizes},
		{what: "mosaic: reading one object after the other", ours: here(m.read), python: python("read", fmt.Sprint(b.time.Seconds()))},
		{what: fmt.Sprintf("mosaic: erasing %d objects, flushed (Python: with one updater)", erasedObjects), ours: erase, python: after(python("write"), python("erase", fmt.Sprint(erasedObjects)))},
		{what: fmt.Sprintf("mosaic: erasing %d objects, flushed (Python: as Python Winery, with an updater for each)", erasedObjects), ours: erase, python: after(python("write"), python("erase-each", fmt.Sprint(erasedEach)))},
	}
	for _, r := range rows {
		if err := b.measure(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// readObjects sets the objects of the images: the files of a tree, and copies of them
// with other first lines, so that an image has more than one tile of 32 MB, as in
// production. It returns a list of the files, for Python.
func (m *mosaicBench) readObjects(tree *harness.Source) (list string, err error) {
	list = filepath.Join(m.dir, "files")
	var paths []string
	for number := 0; len(m.ids) < m.inImages; number++ {
		for _, path := range tree.Paths { // in no order, the same for both
			if len(m.ids) == m.inImages {
				break
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			content = append(fmt.Appendf(nil, "%d\n", number), content...)
			path = filepath.Join(m.dir, fmt.Sprintf("object%d", len(m.ids)))
			if err := os.WriteFile(path, content, 0o600); err != nil {
				return "", err
			}
			m.ids, m.contents, paths = append(m.ids, sha256.Sum256(content)), append(m.contents, content), append(paths, path)
			m.bytes += int64(len(content))
		}
	}
	return list, os.WriteFile(list, []byte(strings.Join(paths, "\n")), 0o600)
}

// mosaicBench is an image of each program, of the same objects.
type mosaicBench struct {
	*bench
	path, pythons string
	ids           []format.ObjID
	contents      [][]byte
	bytes         int64
}

// here measures this process.
func here(do func(context.Context) (load.Result, error)) work {
	return func(ctx context.Context) (load.Result, usage, error) {
		var before, after syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
			return load.Result{}, usage{}, err
		}
		result, err := do(ctx)
		err = errors.Join(err, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
		return result, usage{cpu: time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())}, err
	}
}

// after measures what is done after something else.
func after(prepare, do work) work {
	return func(ctx context.Context) (load.Result, usage, error) {
		if _, _, err := prepare(ctx); err != nil {
			return load.Result{}, usage{}, err
		}
		return do(ctx)
	}
}

// write writes an image, flushes it, and reads it back.
func (m *mosaicBench) write(ctx context.Context) (result load.Result, err error) {
	began := time.Now()
	file, err := os.Create(m.path)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w, err := mosaic.NewWriter(mosaic.Format{Zstd: true, Level: 3}, file, 1<<40)
	if err != nil {
		return result, err
	}
	defer func() { _ = w.Close() }()
	for i, content := range m.contents {
		if err := w.Add(m.ids[i], int64(len(content)), bytes.NewReader(content)); err != nil {
			return result, err
		}
	}
	info, err := w.Finish()
	if err != nil {
		return result, err
	}
	if err := file.Sync(); err != nil {
		return result, err
	}
	r, err := mosaic.Open(file, info.Size, m.path)
	if err == nil {
		_, err = r.Verify(ctx, nil)
	}
	return load.Result{Objects: int64(len(m.ids)), Bytes: m.bytes, Took: time.Since(began)}, err
}

// read reads objects for a time, one after the other.
func (m *mosaicBench) read(context.Context) (result load.Result, err error) {
	r, file, err := m.open()
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	began := time.Now()
	for i := 0; result.Objects == 0 || time.Since(began) < m.time; i = (i + 1) % len(m.ids) {
		content, err := r.Get(m.ids[i])
		if err != nil {
			return result, err
		}
		result.Objects++
		result.Bytes += int64(len(content))
	}
	result.Took = time.Since(began)
	return result, nil
}

// flushed is a file that an image is erased in.
type flushed struct{ *os.File }

func (f flushed) Flush() error { return f.Sync() }

// erase erases objects.
func (m *mosaicBench) erase(ctx context.Context) (result load.Result, err error) {
	_, file, err := m.open()
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return result, err
	}
	n := min(erasedObjects, len(m.ids))
	began := time.Now()
	_, err = mosaic.Format{}.Erase(ctx, flushed{file}, info.Size(), m.path, 8, slices.Clone(m.ids[:n]))
	return load.Result{Objects: int64(n), Took: time.Since(began)}, err
}

func (m *mosaicBench) open() (*mosaic.Reader, *os.File, error) {
	file, err := os.OpenFile(m.path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	r, err := mosaic.Open(file, info.Size(), m.path)
	return r, file, err
}

// sizes compares the images.
func (m *mosaicBench) sizes() string {
	ours, err := os.Stat(m.path)
	pythons, pythonErr := os.Stat(m.pythons)
	if err := errors.Join(err, pythonErr); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("size: %.1f %% of the contents, Python's %.1f %%", 100*float64(ours.Size())/float64(m.bytes), 100*float64(pythons.Size())/float64(m.bytes))
}
