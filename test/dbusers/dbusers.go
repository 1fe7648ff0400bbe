// SPDX-License-Identifier: GPL-3.0-or-later

// Package dbusers makes the users of a database as an administrator does: by psql,
// from what `wineryctl db grants` prints, and with a password for each.
package dbusers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"winery/sharedbase"
)

// Users are the users of one database.
type Users struct {
	Prefix   string
	password string
	admin    string
}

// Make makes the users in a database that has Winery's schema. The user of admin, its
// DSN, may make roles.
func Make(ctx context.Context, admin string, o sharedbase.GrantOptions) (*Users, error) {
	if o.Prefix == "" {
		o.Prefix = "w" + strings.ToLower(rand.Text()) // users belong to all databases of a server
	}
	u := &Users{Prefix: o.Prefix, password: rand.Text(), admin: admin}
	script, err := sharedbase.Grants(o)
	if err != nil {
		return nil, err
	}
	for _, user := range sharedbase.Users {
		script += fmt.Sprintf("ALTER ROLE %s_%s PASSWORD '%s';\n", u.Prefix, user, u.password)
	}
	return u, u.psql(ctx, script)
}

// DSN is that of a user of [sharedbase.Users].
func (u *Users) DSN(user string) string {
	name := u.Prefix + "_" + user
	at, err := url.Parse(u.admin)
	if err != nil || at.Scheme == "" {
		return fmt.Sprintf("%s user=%s password=%s", u.admin, name, u.password) // of repeated pairs, the last counts
	}
	at.User = url.UserPassword(name, u.password)
	return at.String()
}

// Drop removes the users. What they own becomes the administrator's.
func (u *Users) Drop(ctx context.Context) error {
	all := u.Prefix + "_" + strings.Join(sharedbase.Users, ", "+u.Prefix+"_")
	return u.psql(ctx, fmt.Sprintf("\\set ON_ERROR_STOP on\nREASSIGN OWNED BY %[1]s_owner TO CURRENT_USER; DROP OWNED BY %[1]s_owner, %[2]s; DROP ROLE %[1]s_owner, %[2]s;", u.Prefix, all))
}

func (u *Users) psql(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "psql", "--no-psqlrc", "--quiet", u.admin) //nolint:gosec // the DSN of a test
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w\n%s", err, out)
	}
	return nil
}

// New is Make for a test, with whose end the users are gone.
func New(t testing.TB, admin string, o sharedbase.GrantOptions) *Users {
	t.Helper()
	u, err := Make(t.Context(), admin, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Drop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return u
}
