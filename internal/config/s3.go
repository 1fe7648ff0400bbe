// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"regexp"
	"strings"
)

// S3 is where a mosaic-s3 pool keeps its images, and how it speaks to the store. What
// is empty is taken from the environment, as by all AWS tools.
type S3 struct {
	BaseURL        string // s3://BUCKET or s3://BUCKET/PREFIX
	ImageExtension string
	Anonymous      bool
	ReadOnly       bool
	TmpDirectory   string // "" only with ReadOnly

	// Of boto3_config:
	Endpoint, Region                   string
	AccessKey, SecretKey, SessionToken string
	CABundle                           string // verify: PATH
	Insecure                           bool   // verify: false

	Addressing     string // "", path or virtual
	CacheDirectory string // "" without a cache
	CacheSize      int64
}

// maxCacheSize bounds the cache of a pool: its index is in memory, 100 bytes for each 64 KiB.
const maxCacheSize = 16 << 40

var baseURL = textThat(regexp.MustCompile(`^s3://[^/]+(/.*)?$`).MatchString, "s3://BUCKET or s3://BUCKET/PREFIX")

var extension = textThat(func(s string) bool { return !strings.Contains(s, "/") }, `text without "/", such as .mosaic`)

// keys are the keys of a pool of type mosaic-s3, other than those that all pools with
// mosaics have.
func (s *S3) keys() []setting {
	return []setting{
		key("base_url", required("s3://BUCKET or s3://BUCKET/PREFIX"), text(&s.BaseURL), baseURL),
		key("image_extension", text(&s.ImageExtension), extension),
		key("anonymous", boolean(&s.Anonymous)),
		key("read_only", boolean(&s.ReadOnly)),
		key("tmp_directory", nonEmpty(&s.TmpDirectory), required("the path of a directory, where images are built; or set read_only: true", &s.ReadOnly)),
		key("boto3_config", mapping( // the arguments of boto3.client that make sense in a file
			key("endpoint_url", nonEmpty(&s.Endpoint)),
			key("region_name", nonEmpty(&s.Region)),
			key("aws_access_key_id", secret(&s.AccessKey, wantText)),
			key("aws_secret_access_key", secret(&s.SecretKey, wantText), together(&s.AccessKey, &s.SecretKey, "aws_access_key_id and aws_secret_access_key")),
			key("aws_session_token", secret(&s.SessionToken, wantText)),
			key("verify", s.verify),
			key("use_ssl", func(v value) bool {
				return v.null() || s.Endpoint != "" || v.is("!!bool") && v.node.Value == "true" || v.reject("true where there is no endpoint_url")
			}),
		)),
		key("addressing", enum(&s.Addressing, "path", "virtual")),
		key("cache_directory", nonEmpty(&s.CacheDirectory)),
		key("cache_size", size(&s.CacheSize, maxCacheSize), together(&s.CacheDirectory, &s.CacheSize, "cache_directory and cache_size")),
	}
}

// verify reads whether the store's certificate is checked, and against which
// authorities.
func (s *S3) verify(v value) bool {
	s.Insecure = v.is("!!bool") && v.node.Value == "false"
	path := v.is("!!str") && v.node.Value != "" && v.node.Decode(&s.CABundle) == nil
	return path || v.is("!!bool") || v.null() || v.reject("true, false or the path of a file with certificates")
}
