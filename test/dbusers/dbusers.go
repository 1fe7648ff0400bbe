// SPDX-License-Identifier: GPL-3.0-or-later

// Package dbusers makes the users of a database as an administrator does: by psql,
// from what `wineryctl db grants` prints, and with a password for each.
package dbusers

import (
	"context"
	"crypto/rand"
	"fmt"
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
	names    []string // of all but the owner
}

// Make makes the users in a database that has Winery's schema, and the user o.Also, if
// any. The user of admin, its DSN, may make roles. o.Prefix is unique in the server.
func Make(ctx context.Context, admin string, o sharedbase.GrantOptions) (*Users, error) {
	u := &Users{Prefix: o.Prefix, password: rand.Text(), admin: admin}
	for _, user := range sharedbase.Users {
		u.names = append(u.names, o.Prefix+"_"+user)
	}
	script, err := sharedbase.Grants(o)
	if err != nil {
		return nil, err
	}
	if o.Also != "" {
		script = fmt.Sprintf("CREATE ROLE %s LOGIN;\n", o.Also) + script
		u.names = append(u.names, o.Also)
	}
	for _, name := range u.names {
		script += fmt.Sprintf("ALTER ROLE %s PASSWORD '%s';\n", name, u.password)
	}
	return u, u.psql(ctx, script)
}

// DSN is that of a user of [sharedbase.Users].
func (u *Users) DSN(user string) string {
	name := u.Prefix + "_" + user
	scheme, rest, isURL := strings.Cut(u.admin, "://")
	if !isURL {
		return fmt.Sprintf("%s user=%s password=%s", u.admin, name, u.password) // of repeated pairs, the last counts
	}
	if _, server, found := strings.Cut(rest, "@"); found { // not by package url: there may be several servers
		rest = server
	}
	return fmt.Sprintf("%s://%s:%s@%s", scheme, name, u.password, rest)
}

// Drop removes the users. What they own becomes the administrator's.
func (u *Users) Drop(ctx context.Context) error {
	owner := u.Prefix + "_owner"
	script := "\\set ON_ERROR_STOP on\nREASSIGN OWNED BY " + owner + " TO CURRENT_USER;\n"
	for _, name := range append([]string{owner}, u.names...) { // one after the other: default privileges go with the first
		script += "DROP OWNED BY " + name + ";\n"
	}
	return u.psql(ctx, script+"DROP ROLE "+owner+", "+strings.Join(u.names, ", "))
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
	o.Prefix = "w" + strings.ToLower(rand.Text()) // users belong to all databases of a server
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
