// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"winery/pool/s3"
	"winery/test/expect"
	"winery/test/s3test"
)

// TestManyImages: a listing has more than one page, and nothing but images.
func TestManyImages(t *testing.T) {
	s := on(t, s3test.Moto(t), func(s *s3.Settings) { s.ImageExtension = ".mosaic" })
	put := func(key string) {
		_, err := s.server.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: strings.NewReader("x")})
		expect.NoError(t, err)
	}
	var want []string
	for i := range 1100 {
		want = append(want, fmt.Sprintf("image-%04d", i))
		put("shards/" + want[i] + ".mosaic")
	}
	for _, key := range []string{"shards/other", "shards/a/b.mosaic", "shards2/x.mosaic", "shards/.mosaic", "shards/-a.mosaic"} {
		put(key)
	}
	expect.NoError(t, s.pool.SetMarker(t.Context(), []byte("marker"), false))
	got, err := s.pool.List(t.Context())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d images, %v", len(got), err)
	}
}
