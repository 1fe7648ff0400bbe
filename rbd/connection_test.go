// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/rbd"
	"winery/test/cephtest"
	"winery/test/expect"
)

// TestFindingCeph: each way that Ceph's own tools know leads there.
func TestFindingCeph(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	conf := pools.Conf
	// Another user, that only the settings or CEPH_ARGS name.
	user, args := newUser(t, "profile rbd")
	keyring := strings.TrimPrefix(args, "--keyring ")
	absent := filepath.Join(t.TempDir(), "absent")
	for _, tt := range []struct {
		name       string
		conf, args string // environment
		settings   rbd.Settings
	}{
		{name: "CEPH_CONF", conf: conf},
		{name: "setting over CEPH_CONF", conf: absent, settings: rbd.Settings{Conf: conf}},
		{name: "CEPH_ARGS over CEPH_CONF", conf: absent, args: "--conf " + conf},
		{name: "another user", conf: conf, args: "--keyring " + keyring, settings: rbd.Settings{User: user}},
		{name: "another user with type", conf: conf, args: "--keyring=" + keyring, settings: rbd.Settings{User: "client." + user}},
		{name: "another user in CEPH_ARGS", conf: conf, args: "--keyring " + keyring + " --id " + user},
		{name: "another user, named whole", conf: conf, args: "-n client." + user + " --keyring " + keyring},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := settings(pools)
			s.Conf, s.User = tt.settings.Conf, tt.settings.User
			if said := createElsewhere(t, s, tt.conf, tt.args); said != "" {
				t.Error(said)
			}
		})
	}
}

// newUser makes a user with a cap for the monitors; args name the keyring.
func newUser(t *testing.T, mon string) (name, args string) {
	t.Helper()
	name = strings.ToLower(rand.Text())
	c := cephtest.Connect(t)
	key := cephtest.Command(t, c, map[string]any{
		"prefix": "auth get-or-create", "entity": "client." + name,
		"caps": []string{"mon", mon, "osd", "profile rbd"},
	})
	t.Cleanup(func() { cephtest.Command(t, c, map[string]any{"prefix": "auth rm", "entity": "client." + name}) })
	keyring := filepath.Join(t.TempDir(), "keyring")
	expect.NoError(t, os.WriteFile(keyring, key, 0o600))
	return name, "--keyring " + keyring
}

// TestNotFindingCeph: each way to miss it says what to do.
func TestNotFindingCeph(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.conf")
	expect.NoError(t, os.WriteFile(empty, []byte("[global]\n"), 0o600))
	wrong := filepath.Join(dir, "wrong.keyring")
	expect.NoError(t, os.WriteFile(wrong, []byte("[client.admin]\n\tkey = AQD6lyJlAAAAABAAtJmKtF5WSv1d0uB1zEBv+Q==\n"), 0o600))
	for _, tt := range []struct {
		name   string
		args   string // CEPH_ARGS
		change func(*rbd.Settings)
		want   []string
	}{
		{"no such file", "", func(s *rbd.Settings) { s.Conf = filepath.Join(dir, "absent.conf") }, []string{"absent.conf", "ceph_conf"}},
		{"no file", "--cluster nosuch", func(s *rbd.Settings) { s.Conf = "" }, []string{"/etc/ceph/nosuch.conf", "CEPH_CONF"}},
		{"no monitors", "", func(s *rbd.Settings) { s.Conf = empty }, []string{"empty.conf", "mon_host"}},
		{"no such user", "", func(s *rbd.Settings) { s.User = "nobody" }, []string{"client.nobody", "key"}},
		{"wrong key", "--keyring " + wrong, func(*rbd.Settings) {}, []string{"client.admin", "refused", "keyring"}},
		{"no pool", "", func(s *rbd.Settings) { s.PoolName = "nosuch" }, []string{`no pool "nosuch"`, "ceph osd pool create"}},
		{"no data pool", "", func(s *rbd.Settings) { s.DataPool = "nosuch-data" }, []string{`no pool "nosuch-data"`, "ceph osd pool create"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := settings(pools)
			tt.change(&s)
			said := createElsewhere(t, s, "", tt.args)
			for _, want := range append(tt.want, s.PoolName) {
				if !strings.Contains(said, want) {
					t.Errorf("the error does not say %q: %s", want, said)
				}
			}
			if strings.Contains(said, pool.ErrNotFound.Error()) {
				t.Errorf("the error is taken for a missing image: %s", said)
			}
		})
	}
}

// createElsewhere makes an image in another process, since librados keeps the
// first CEPH_ARGS that it saw, and returns the error's text.
func createElsewhere(t *testing.T, s rbd.Settings, conf, args string) string {
	t.Helper()
	text, err := json.Marshal(s)
	expect.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), creatorSettings+"="+string(text), "CEPH_CONF="+conf, "CEPH_ARGS="+args)
	out, err := cmd.Output()
	expect.NoError(t, err)
	return string(out)
}

// create is what createElsewhere's process does.
func create(settings string) error {
	var s rbd.Settings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		return err
	}
	p, err := rbd.New(s)
	if err != nil {
		return err
	}
	d, err := p.Create(context.Background(), "one", 0, pooltest.Anything{})
	if err != nil {
		return errors.Join(err, p.Close())
	}
	return errors.Join(d.Commit(context.Background()), p.Close())
}

// TestUnreachable waits for the limit of half a minute; then Ceph comes back.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := settings(cephtest.New(t))
	conf, err := os.ReadFile(s.Conf)
	expect.NoError(t, err)
	s.Conf = filepath.Join(t.TempDir(), "ceph.conf")
	expect.NoError(t, os.WriteFile(s.Conf, []byte("[global]\nauth_supported = none\nmon_host = [v2:127.0.0.1:1,v1:127.0.0.1:2]\n"), 0o600))
	p := open(t, s)

	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() {
		_, err := p.List(ctx)
		impatient <- err
	}()
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("List given up: got %v, want context.Canceled", err)
	}
	if _, err := p.List(t.Context()); err == nil || !strings.Contains(err.Error(), "no monitor answered") {
		t.Errorf("List: got %v, want that no monitor answered", err)
	}
	expect.NoError(t, os.WriteFile(s.Conf, conf, 0o600))
	_, err = p.List(t.Context())
	expect.NoError(t, err)
}
