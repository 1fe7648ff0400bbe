// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"context"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// run is one of rapid's lives to the helpers of tests: it fails alone, and what
// it made goes with it.
type run struct {
	testing.TB // the test that all lives are part of
	rapid      *rapid.T
}

func (r run) Helper()                   { r.rapid.Helper() }
func (r run) Context() context.Context  { return r.rapid.Context() }
func (r run) Cleanup(f func())          { r.rapid.Cleanup(f) }
func (r run) Fail()                     { r.rapid.Fail() }
func (r run) FailNow()                  { r.rapid.FailNow() }
func (r run) Failed() bool              { return r.rapid.Failed() }
func (r run) Error(args ...any)         { r.rapid.Error(args...) }
func (r run) Errorf(f string, a ...any) { r.rapid.Errorf(f, a...) }
func (r run) Fatal(args ...any)         { r.rapid.Fatal(args...) }
func (r run) Fatalf(f string, a ...any) { r.rapid.Fatalf(f, a...) }
func (r run) Log(args ...any)           { r.rapid.Log(args...) }
func (r run) Logf(f string, a ...any)   { r.rapid.Logf(f, a...) }

func (r run) TempDir() string {
	dir, err := os.MkdirTemp("", "winery-model-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
