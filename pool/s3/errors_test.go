// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/test/s3test"
)

// calls are all calls that send a request.
func calls(t *testing.T, p *s3.Pool) map[string]func() error {
	return map[string]func() error{
		"Create": func() error {
			_, err := p.Create(t.Context(), "two", 0, pooltest.Anything{})
			return err
		},
		"Open":        func() error { _, err := p.Open(t.Context(), "one"); return err },
		"OpenMapped":  func() error { _, err := p.OpenMapped(t.Context(), "one"); return err },
		"Edit":        func() error { _, err := p.Edit(t.Context(), "one", pooltest.Anything{}); return err },
		"Map":         func() error { return p.Map(t.Context(), "one") },
		"Mapped":      func() error { _, err := p.Mapped(t.Context()); return err },
		"List":        func() error { _, err := p.List(t.Context()); return err },
		"Remove":      func() error { return p.Remove(t.Context(), "one", pooltest.Anything{}) },
		"Init":        func() error { return p.Init(t.Context()) },
		"Marker":      func() error { _, err := p.Marker(t.Context()); return err },
		"SetMarker":   func() error { return p.SetMarker(t.Context(), []byte("x"), true) },
		"CheckAccess": func() error { return p.CheckAccess(t.Context(), true) },
	}
}

// TestErrors: what does not pass is an error of its kind, with the cure, from every
// call; nothing is repeated that cannot succeed.
func TestErrors(t *testing.T) {
	for code, tt := range map[string]struct {
		status int
		want   error // nil: an AccessError
		says   string
	}{
		"NoSuchBucket":                 {404, pool.ErrNoPool, "create the bucket, or correct base_url"},
		"AccessDenied":                 {403, nil, "s3:GetObject"},
		"InvalidAccessKeyId":           {403, nil, "AWS_ACCESS_KEY_ID"},
		"SignatureDoesNotMatch":        {403, nil, "AWS_SECRET_ACCESS_KEY"},
		"ExpiredToken":                 {400, nil, "AWS_SESSION_TOKEN"},
		"PermanentRedirect":            {301, nil, "region_name"},
		"AuthorizationHeaderMalformed": {400, nil, "region_name"},
		"QuotaExceeded":                {403, pool.ErrFull, "raise the quota"},
		"InsufficientStorage":          {507, pool.ErrFull, "raise the quota"},
		"SomethingElse":                {403, nil, "s3:GetObject"},
	} {
		t.Run(fmt.Sprint(tt.status, code), func(t *testing.T) {
			s := on(t, s3test.Moto(t), nil)
			s.trouble.Requests(refuse("", "", tt.status, code))
			for name, call := range calls(t, s.pool) {
				s.trouble.Seen()
				err := call()
				if tt.want != nil {
					wantErr(t, name, err, tt.want, tt.says)
				} else {
					wantDenied(t, name, err, tt.says, code)
				}
				if seen := s.trouble.Seen(); len(seen) > 1 {
					t.Errorf("%s: requests %q, want one", name, seen)
				}
			}
		})
	}
}

// TestNotS3: the page of a proxy, which knows no such path, does not mean that there is
// no image.
func TestNotS3(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	s.trouble.Requests(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "<html>page not found</html>", http.StatusNotFound)
		return true
	})
	for name, call := range calls(t, s.pool) {
		err := call()
		wantSays(t, name, err)
		if errors.Is(err, pool.ErrNotFound) || errors.Is(err, pool.ErrNotMapped) || errors.Is(err, pool.ErrNoMarker) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoBucket: a bucket that does not exist, on real servers.
func TestNoBucket(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, func(s *s3.Settings) { s.BaseURL = "s3://no-such-bucket-here" })
		for name, call := range calls(t, s.pool) {
			wantErr(t, name, call(), pool.ErrNoPool, "create the bucket, or correct base_url")
		}
	})
}
