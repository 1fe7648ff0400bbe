// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/test/expect"
	"winery/test/s3test"
)

// These ask the test binary to write a draft, in the bucket of this name.
const (
	victimBucket   = "POOL_TEST_BUCKET"
	victimEndpoint = "POOL_TEST_ENDPOINT"
	victimTmp      = "POOL_TEST_TMP"
)

func TestMain(m *testing.M) {
	if bucket := os.Getenv(victimBucket); bucket != "" {
		p, err := s3.New(settings(os.Getenv(victimEndpoint), bucket, os.Getenv(victimTmp)))
		if err == nil {
			err = pooltest.BeVictim(p, "one")
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(s3test.Tests{M: m})
}

// settings are those of a pool "shards" in a bucket.
func settings(endpoint, bucket, tmp string) s3.Settings {
	return s3.Settings{
		BaseURL: "s3://" + bucket, PoolName: "shards", TmpDirectory: tmp, Endpoint: endpoint,
		AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey,
		Patience: 20 * time.Second, ReadPatience: 5 * time.Second,
	}
}

func newPool(t testing.TB, s s3.Settings) *s3.Pool {
	t.Helper()
	p, err := s3.New(s)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, p.Close()) })
	return p
}

// TestConformance: every pool on every server, and with what changes keys and reads.
func TestConformance(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *s3.Settings){
		"Plain": func(*testing.T, *s3.Settings) {},
		"PrefixExtensionCache": func(t *testing.T, s *s3.Settings) {
			s.BaseURL += "/a/prefix/"
			s.ImageExtension = ".mosaic"
			s.CacheDirectory, s.CacheSize = t.TempDir(), 1<<20
		},
	} {
		for kind, server := range servers {
			t.Run(name+"/"+kind, func(t *testing.T) {
				endpoint := server(t).Endpoint
				pooltest.Run(t, func(t *testing.T) pool.Pool {
					s := settings(endpoint, server(t).Bucket(t), t.TempDir())
					change(t, &s)
					return newPool(t, s)
				})
			})
		}
	}
}

// servers are those that the pool is tested with.
var servers = map[string]func(testing.TB) *s3test.Server{"moto": s3test.Moto, "versitygw": s3test.Versity, "radosgw": s3test.Radosgw}
