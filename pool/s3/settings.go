// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"winery/format"
	"winery/pool"
)

// Settings of an S3 pool. Those up to TmpDirectory are keys of Python Winery, under
// the same names; Endpoint to Insecure are keys of its boto3_config. What is not set
// there is taken from where the AWS SDKs take it: AWS_ENDPOINT_URL, AWS_REGION,
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE,
// AWS_CA_BUNDLE, ~/.aws, and the metadata service of a machine at Amazon.
type Settings struct {
	BaseURL        string // s3://BUCKET or s3://BUCKET/PREFIX
	PoolName       string // images are PREFIX/PoolName/NAME
	ImageExtension string // after NAME, such as ".mosaic"
	Anonymous      bool   // send requests unsigned: for reading a public bucket
	ReadOnly       bool   // make, change and remove nothing
	// TmpDirectory is the local folder where images are built and erased, which needs
	// room for as many images as are built at once. ReadOnly needs none.
	TmpDirectory string

	Endpoint     string // endpoint_url, such as http://127.0.0.1:8333; "" is Amazon's
	Region       string // region_name; "" is us-east-1 unless the environment has one
	AccessKey    string // aws_access_key_id
	SecretKey    string // aws_secret_access_key
	SessionToken string // aws_session_token
	CABundle     string // verify: PATH, of the certificate authorities in PEM
	Insecure     bool   // verify: false, which checks no certificates

	Addressing Addressing
	Format     format.Format

	// CacheDirectory is the local folder of a cache of CacheSize bytes, for what
	// readers read. Both or none must be set.
	CacheDirectory string
	CacheSize      int64
	// NoCache is called, at most once and by New, if the cache cannot be opened: the
	// pool then reads without one. It may be nil.
	NoCache func(error)

	// Patience is for how long a request is repeated that the store did not answer, or
	// answered with a passing error, by default 2 minutes. ReadPatience is the same for
	// readers, by default 10 seconds.
	Patience, ReadPatience time.Duration
	// Retrying is called, from any goroutine, before a request is sent again after a
	// pause. It may be nil.
	Retrying func(operation string, err error, pause time.Duration)
}

// Defaults of [Settings].
const (
	defaultPatience     = 2 * time.Minute
	defaultReadPatience = 10 * time.Second
)

// Addressing is where a request has the name of the bucket.
type Addressing string

// PathStyle is http://HOST/BUCKET/KEY, VirtualHosts http://BUCKET.HOST/KEY, and Auto
// the first where Endpoint or AWS_ENDPOINT_URL is set, and else the second, as in
// boto3.
const (
	Auto         Addressing = ""
	PathStyle    Addressing = "path"
	VirtualHosts Addressing = "virtual"
)

// location is where the objects of a pool are.
type location struct {
	bucket string
	images string // with a slash at its end
	// own is where the pool keeps what is no image. Python Winery lists every key that
	// begins with PREFIX/PoolName; no pool's name begins with a dot.
	own       string
	extension string
}

// parse checks the settings, and returns the location of the pool.
func (s *Settings) parse() (location, error) {
	if err := pool.CheckName(s.PoolName); err != nil {
		return location{}, fmt.Errorf("pool_name: %w", err)
	}
	rest, ok := strings.CutPrefix(s.BaseURL, "s3://")
	bucket, prefix, _ := strings.Cut(strings.TrimRight(rest, "/"), "/")
	if !ok || bucket == "" {
		return location{}, fmt.Errorf("base_url: %q is not s3://BUCKET or s3://BUCKET/PREFIX", s.BaseURL)
	}
	if prefix != "" {
		prefix += "/"
	}
	if strings.Contains(s.ImageExtension, "/") {
		return location{}, fmt.Errorf("image_extension: %q has a slash", s.ImageExtension)
	}
	if !s.ReadOnly && s.TmpDirectory == "" {
		return location{}, errors.New("tmp_directory: missing; images are built there (a pool with read_only: true needs none)")
	}
	if (s.CacheDirectory == "") != (s.CacheSize <= 0) {
		return location{}, errors.New("cache_directory and cache_size: set both or none")
	}
	switch s.Addressing {
	case Auto, PathStyle, VirtualHosts:
	default:
		return location{}, fmt.Errorf("addressing: %q is not path or virtual", s.Addressing)
	}
	return location{
		bucket: bucket, images: prefix + s.PoolName + "/", own: prefix + ".winery/" + s.PoolName + "/",
		extension: s.ImageExtension,
	}, nil
}

func (l location) image(name string) string { return l.images + name + l.extension }

// name returns the name of the image that is kept under key; false if key is none's.
func (l location) name(key string) (string, bool) {
	name, ok := strings.CutPrefix(key, l.images)
	if ok {
		name, ok = strings.CutSuffix(name, l.extension)
	}
	return name, ok && pool.CheckName(name) == nil
}

func (l location) marker() string { return l.own + "marker" }
