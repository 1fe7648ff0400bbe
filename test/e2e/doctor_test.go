// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"winery/test/cephtest"
	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
)

// TestNotReadyWithoutCaps: a role whose Ceph user may only read is not ready if it must
// write; the log says what `wineryctl doctor` says. With the missing caps it works.
func TestNotReadyWithoutCaps(t *testing.T) {
	ctx := fleettest.Within(t)
	pools := cephtest.New(t)
	o := fleettest.Options(t)
	o.CephConf, o.CephPool, o.ShardMaxSize, o.OneUser = pools.Conf, pools.Pool, 1<<20, true
	f := fleettest.New(t, o)
	osd := fmt.Sprintf("profile rbd-read-only pool=%s, profile rbd-read-only pool=%s", pools.Pool, pools.DataPool)
	conf, user := cephtest.User(t, "profile rbd", osd)
	text, err := os.ReadFile(f.File)
	expect.NoError(t, err)
	text = []byte(strings.Replace(string(text), fmt.Sprintf("ceph_conf: %q", o.CephConf), fmt.Sprintf("ceph_conf: %q, ceph_user: %s", conf, user), 1))
	expect.NoError(t, os.WriteFile(f.File, text, 0o600))

	refusal := "Ceph does not let client." + user + " write to pool " + pools.Pool
	packer, err := f.Start(harness.Packer)
	expect.NoError(t, err)
	logged(ctx, t, packer, refusal)
	want(ctx, t, packer, "/readyz", 503, fmt.Sprintf("pools: failed: pool %q cannot be used", pools.Pool), "role: failed")
	if _, err := f.Ctl(ctx, "doctor", "--role", "packer"); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("doctor: %v", err)
	}
	mapper, err := f.Start(harness.Mapper)
	expect.NoError(t, err)
	expect.NoError(t, harness.Until(ctx, func() (bool, error) {
		status, _, err := mapper.Ask(ctx, "/readyz")
		return status == 200, err
	}))

	cephtest.Command(t, cephtest.Connect(t), map[string]any{"prefix": "auth caps", "entity": "client." + user,
		"caps": []string{"mon", "profile rbd", "osd", strings.ReplaceAll(osd, "-read-only", "")}})
	expect.NoError(t, packer.Kill()) // the log says that the roles must be restarted
	fleettest.RunToEnd(ctx, t, f, harness.Packer)
}
