// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"strings"
	"testing"

	"winery/test/expect"
)

// TestSettings: what is wrong is named by its key.
func TestSettings(t *testing.T) {
	for want, change := range map[string]func(s *Settings){
		"pool_name":       func(s *Settings) { s.PoolName = "a/b" },
		"base_url":        func(s *Settings) { s.BaseURL = "http://bucket" },
		"s3://BUCKET":     func(s *Settings) { s.BaseURL = "s3:///prefix" },
		"image_extension": func(s *Settings) { s.ImageExtension = "/x" },
		"tmp_directory":   func(s *Settings) { s.TmpDirectory = "" },
		"cache_size":      func(s *Settings) { s.CacheDirectory = "/tmp" },
		"cache_directory": func(s *Settings) { s.CacheSize = 1 },
		"addressing":      func(s *Settings) { s.Addressing = "dns" },
		"verify":          func(s *Settings) { s.CABundle = "/nonexistent" },
	} {
		s := Settings{BaseURL: "s3://bucket", PoolName: "shards", TmpDirectory: t.TempDir()}
		change(&s)
		if _, err := New(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}

// TestNoCache: a pool whose cache cannot be opened reads without one, and says why.
func TestNoCache(t *testing.T) {
	for want, change := range map[string]func(s *Settings){
		"bytes are needed": func(s *Settings) { s.CacheDirectory, s.CacheSize = t.TempDir(), 1<<60 },
		"no such file":     func(s *Settings) { s.CacheDirectory, s.CacheSize = "/nonexistent", 1<<20 },
	} {
		s := Settings{BaseURL: "s3://bucket", PoolName: "shards", TmpDirectory: t.TempDir()}
		change(&s)
		var why error
		s.NoCache = func(err error) { why = err }
		p, err := New(s)
		expect.NoError(t, err)
		if p.cache != nil || why == nil || !strings.Contains(why.Error(), want) {
			t.Errorf("cache %v, %v; want none, because of %s", p.cache, why, want)
		}
		expect.NoError(t, p.Close())
	}
}

// TestKeys: keys are Python Winery's.
func TestKeys(t *testing.T) {
	for url, image := range map[string]string{
		"s3://bucket": "shards/one.m", "s3://bucket/": "shards/one.m", "s3://bucket/a/b": "a/b/shards/one.m", "s3://bucket/a/b//": "a/b/shards/one.m",
	} {
		s := Settings{BaseURL: url, PoolName: "shards", TmpDirectory: "/tmp", ImageExtension: ".m"}
		at, err := s.parse()
		expect.NoError(t, err)
		if at.bucket != "bucket" || at.image("one") != image {
			t.Errorf("%s: bucket %s, key %s", url, at.bucket, at.image("one"))
		}
		if name, ok := at.name(image); name != "one" || !ok {
			t.Errorf("%s: the name of %s is %q, %v", url, image, name, ok)
		}
		if strings.HasPrefix(at.marker(), strings.TrimSuffix(at.images, "/")) {
			t.Errorf("%s: Python Winery lists the marker %s", url, at.marker())
		}
	}
}

// TestAddressing: as boto3 does it.
func TestAddressing(t *testing.T) {
	for _, tt := range []struct {
		endpoint, environment string
		addressing            Addressing
		path                  bool
	}{
		{"", "", Auto, false},
		{"http://127.0.0.1:1", "", Auto, true},
		{"", "http://127.0.0.1:1", Auto, true},
		{"http://127.0.0.1:1", "", VirtualHosts, false},
		{"", "", PathStyle, true},
	} {
		t.Setenv("AWS_ENDPOINT_URL", tt.environment)
		p, err := New(Settings{BaseURL: "s3://bucket", PoolName: "shards", TmpDirectory: "/tmp", Endpoint: tt.endpoint, Addressing: tt.addressing})
		expect.NoError(t, err)
		if got := p.client.Options().UsePathStyle; got != tt.path {
			t.Errorf("%+v: path style %v", tt, got)
		}
		expect.NoError(t, p.Close())
	}
}
