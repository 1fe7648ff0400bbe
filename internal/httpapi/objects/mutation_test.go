// SPDX-License-Identifier: GPL-3.0-or-later

package objects_test

import (
	"strings"
	"testing"

	"winery/internal/httpapi/rpc/rpctest"
	"winery/test/corrupt"
)

// TestMutatedPut sends objects with damaged bodies or damaged addresses: none is
// stored, and the server continues to work.
func TestMutatedPut(t *testing.T) {
	random := corrupt.Random(t)
	var store rpctest.Store
	server := serve(t, &store, false)
	const content, hexDigits = "an object of some length", "0123456789abcdef"
	digits := strings.TrimPrefix(address(content), "/objects/")
	for range 300 {
		mutated, what := corrupt.Mutate(random, []byte(content))
		if got := do(t, server, "PUT", address(content), string(mutated)); got.status != 422 || !strings.Contains(got.text, "the address says") {
			t.Fatalf("%s: %+v", what, got)
		}
		other := []byte(digits)
		at := random.IntN(len(other))
		other[at] = hexDigits[(strings.IndexByte(hexDigits, other[at])+1+random.IntN(15))%16]
		if got := do(t, server, "PUT", "/objects/"+string(other), content); got.status != 422 {
			t.Fatalf("digit %d another: %+v", at, got)
		}
	}
	if store.Len() != 0 {
		t.Errorf("%d objects were stored", store.Len())
	}
	if got := do(t, server, "PUT", address(content), content); got.status != 201 {
		t.Errorf("undamaged: %+v", got)
	}
}
