// SPDX-License-Identifier: GPL-3.0-or-later

package config_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/pool"
)

// FuzzParse looks for bytes that make Parse panic or say different things at
// different times, for errors that name no place, and for what Parse accepts
// although no storage could work with it.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(full))
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f.yml", data)
		again, errAgain := config.Parse("f.yml", bytes.Clone(data))
		if !reflect.DeepEqual(c, again) || (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("at first %+v, %v; then %+v, %v", c, err, again, errAgain)
		}
		if err != nil {
			wantPlaces(t, err, 1+bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r")))
			return
		}
		wantUsable(t, c)
	})
}

// wantPlaces fails the test unless each error names a key or a line, or is
// about the file as a whole.
func wantPlaces(t *testing.T, err error, lines int) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("not a list of errors: %v", err)
	}
	for _, err := range joined.Unwrap() {
		var e *config.Error
		if !errors.As(err, &e) {
			t.Fatalf("not a *config.Error: %v", err)
		}
		whole := strings.HasPrefix(e.Msg, "found ") || strings.HasPrefix(e.Msg, "holds ")
		if e.Msg == "" || e.Line < 0 || e.Line > lines || e.Key == "" && e.Line == 0 && !whole {
			t.Fatalf("an error of line %d of %d, key %q: %v", e.Line, lines, e.Key, e)
		}
	}
}

// wantUsable fails the test unless c is what its comments say.
func wantUsable(t *testing.T, c *config.Config) {
	t.Helper()
	_, known := c.Pool(c.ActivePool)
	if _, _, err := config.ParseListen(c.Winery.Listen); err != nil || c.Database.DSN == "" || len(c.Pools) == 0 || c.Name == "" ||
		c.RWIdleTimeout <= 0 || c.ReadersCacheSize < 1 || c.Winery.Writers < 1 || c.Winery.Writers > config.MaxWriters ||
		c.Winery.MaxObjectSize < 1 || !known && (c.ActivePool != "" || !c.ReadOnly) {
		t.Fatalf("accepted as %+v, %v", c, err)
	}
	names := map[string]bool{}
	for _, p := range c.Pools {
		ofType := p.Type == config.Directory && p.BaseDirectory != "" && !p.Compression ||
			p.Type == config.Mosaic && p.BaseDirectory != "" && p.CompressionLevel >= 0 && p.CompressionLevel <= 22 && (p.Compression || !p.Dictionary) ||
			p.Type == config.MosaicS3 && strings.HasPrefix(p.S3.BaseURL, "s3://") && (p.S3.ReadOnly || p.S3.TmpDirectory != "") && (p.S3.CacheSize > 0) == (p.S3.CacheDirectory != "") ||
			p.Type == config.RBD && p.DataPool != "" && (p.Map == config.MapKernel || p.Map == config.MapLibrbd)
		ofType = ofType && (p.Type == config.RBD || pool.CheckName(p.Name) == nil) && !slices.Contains(p.FeaturesUnsupported, "exclusive-lock") && !strings.Contains(p.S3.ImageExtension, "/")
		if !ofType || p.Name == "" || strings.ContainsAny(p.Name, "/@") || names[p.Name] || p.ShardMaxSize < 1 {
			t.Fatalf("accepted a pool as %+v", p)
		}
		names[p.Name] = true
	}
}
