// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"flag"
	"testing"

	"winery/test/roletest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// They wait for leases, and for Ceph, rather than for a processor.
	if err := flag.Set("test.parallel", "500"); err != nil {
		panic(err)
	}
	roletest.Main(m, roles)
}
