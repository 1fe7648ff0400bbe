// SPDX-License-Identifier: GPL-3.0-or-later

package cephtest

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// User makes a user of Ceph with these caps, which is gone with the test. conf is a
// ceph.conf with the user's keyring; name is without "client.".
func User(t testing.TB, mon, osd string) (conf, name string) {
	t.Helper()
	name = strings.ToLower(rand.Text())
	c := Connect(t)
	key := Command(t, c, command{"prefix": "auth get-or-create", "entity": "client." + name, "caps": []string{"mon", mon, "osd", osd}})
	t.Cleanup(func() { Command(t, c, command{"prefix": "auth rm", "entity": "client." + name}) })
	dir := t.TempDir()
	conf, keyring := filepath.Join(dir, "ceph.conf"), filepath.Join(dir, "keyring")
	text, err := os.ReadFile(os.Getenv(Env)) //nolint:gosec // of the test Ceph
	if err == nil {
		err = os.WriteFile(conf, fmt.Appendf(text, "\n[client.%s]\nkeyring = %s\n", name, keyring), 0o600) //nolint:gosec // in the folder of the test
	}
	if err == nil {
		err = os.WriteFile(keyring, key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conf, name
}
