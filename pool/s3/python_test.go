// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/test/expect"
	"winery/test/s3test"
)

// pythonPool opens Python Winery's pool of the same bucket.
const pythonPool = `
import json, pathlib, sys
from swh.objstorage.backends.winery.pools.mosaic import MosaicS3BackedPool
url, endpoint, tmp, key, secret = sys.argv[1:]
pool = MosaicS3BackedPool(
    base_url=url, pool_name="shards", shard_max_size=1000, image_extension=".mosaic", tmp_directory=pathlib.Path(tmp),
    boto3_config={"endpoint_url": endpoint, "aws_access_key_id": key, "aws_secret_access_key": secret})
`

// lookAndUpload is what Python Winery has of the pool: it prints the images, and how
// "one" and "two" are mapped, and uploads the file "two.mosaic" of its tmp_directory.
const lookAndUpload = `
before = pool.image_list()
pool.image_import(tmp + "/two.mosaic")
print(json.dumps({"before": before, "after": pool.image_list(), "mapped": [pool.image_mapped("one"), pool.image_mapped("two"), pool.image_mapped("none")]}))
`

// python runs a script on Python Winery's pool and returns what it prints.
func (s *stage) python(tmp, script string) []byte {
	s.Helper()
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		s.Fatal("WINERY_PYTHON must name a Python with the packages of scripts/python-venv: `make test` sets it")
	}
	cmd := exec.CommandContext(s.Context(), python, "-c", pythonPool+script, s.settings.BaseURL, s.server.Endpoint, tmp, s3test.AccessKey, s3test.SecretKey)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	expect.NoError(s, err)
	return out
}

func withPython(s *s3.Settings) {
	s.ImageExtension = ".mosaic"
	s.BaseURL += "/a/prefix"
}

// TestPython: Python Winery finds the images of this pool, under the same keys, and
// nothing else; this pool finds what Python Winery uploaded, and erases in it.
func TestPython(t *testing.T) {
	s := on(t, s3test.Moto(t), withPython)
	finished(t, s.pool, "one", content(1, 1000))
	expect.NoError(t, s.pool.SetMarker(t.Context(), []byte("marker"), false))
	dead := written(t, s.pool, "three", content(3, 100))
	tmp, two := t.TempDir(), content(2, 2000)
	expect.NoError(t, os.WriteFile(filepath.Join(tmp, "two.mosaic"), two, 0o600))

	var python3 struct{ Before, After, Mapped []string }
	expect.NoError(t, json.Unmarshal(s.python(tmp, lookAndUpload), &python3))
	if !slices.Equal(python3.Before, []string{"one"}) || !slices.Equal(python3.After, []string{"one", "two"}) ||
		!slices.Equal(python3.Mapped, []string{"ro", "ro", ""}) {
		t.Errorf("Python Winery sees %+v", python3)
	}
	expect.NoError(t, dead.Abort(t.Context()))

	names, err := s.pool.List(t.Context())
	if err != nil || !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("images: %q, %v", names, err)
	}
	wantContent(t, s.pool, "two", two)
	e, err := s.pool.Edit(t.Context(), "two", pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.WriteAt(make([]byte, 10), 100)
	expect.NoError(t, err)
	clear(two[100:110])
	expect.NoError(t, e.Commit(t.Context()))
	expect.NoError(t, e.Close())
	wantContent(t, s.pool, "two", two)
	t.Log("interop: pool/s3: Python Winery and Go Winery find each other's images in one bucket")
}

// TestPythonInterrupted: what an interrupted packer of Python Winery left on the host is
// not uploaded by Python's mapper in the place of the image that was made since.
func TestPythonInterrupted(t *testing.T) {
	s := on(t, s3test.Moto(t), withPython)
	tmp := s.settings.TmpDirectory
	s.python(tmp, `
pool.image_create("one")
pool.open_writer("one", 3).write(bytes(range(32)), b"first of three")
`)
	finished(t, s.pool, "one", content(1, 1000))
	if mapped := string(s.python(tmp, `
pool.image_map("one", "ro")
print(pool.image_mapped("one"))
`)); mapped != "ro\n" {
		t.Errorf("Python Winery has mapped the image %q", mapped)
	}
	wantContent(t, s.pool, "one", content(1, 1000))
}
