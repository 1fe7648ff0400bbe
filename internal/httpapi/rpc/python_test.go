// SPDX-License-Identifier: GPL-3.0-or-later

package rpc_test

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"winery/internal/httpapi"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc"
)

// TestPythonClient runs the client in Python against servers of Go Winery.
func TestPythonClient(t *testing.T) {
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		t.Fatal("WINERY_PYTHON must name a Python interpreter that has swh.objstorage: `make test` sets it, " +
			"or: python3 -m venv DIR && DIR/bin/pip install swh.objstorage, and WINERY_PYTHON=DIR/bin/python")
	}
	var away damagedInBatch
	store := damagedInBatch{damaged: [][32]byte{sha256.Sum256([]byte("damaged"))}}
	store.Put(store.damaged[0], []byte("Damaged"))
	away.Fail(httpapi.ErrUnavailable)
	serve := func(store *damagedInBatch, o rpc.Options) string {
		o.Limits, o.Log = httpapi.DefaultLimits(), quiet
		mux := http.NewServeMux()
		mux.Handle("/objects/", objects.NewHandler(store, objects.Options{Limits: o.Limits, Log: quiet}))
		mux.Handle("/", rpc.NewHandler(store, o))
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		return server.URL
	}
	out, err := exec.CommandContext(t.Context(), python, "testdata/conformance.py", "msgpack",
		serve(&store, rpc.Options{Name: "test", AllowDelete: true}),
		serve(&store, rpc.Options{ReadOnly: true}),
		serve(&away, rpc.Options{})).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Logf("interop: HTTP: Python RemoteObjStorage → the handler, in memory: %s", lines[len(lines)-1])
}
