// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"winery/sharedbase"
	"winery/test/dbusers"
)

const (
	// Python is any program of Python Winery.
	Python = "python"
	// Status is `wineryctl status`.
	Status = "status"
)

// userOf has the user of the database and of Ceph for each program.
var userOf = map[string]string{
	Writer: sharedbase.UserWriter, Packer: sharedbase.UserPacker, Mapper: sharedbase.UserMapper, Cleaner: sharedbase.UserCleaner,
	ctl: sharedbase.UserOperator, Status: sharedbase.UserStatus,
}

// For returns the options with the users of one program, and the file that has them as
// a configuration. With OneUser they are those of the fleet. Python's programs have the
// user of Ceph that the fleet has.
func (f *Fleet) For(program string) (o Options, file string) {
	o, file = f.options, f.File
	if f.users == nil {
		return o, file
	}
	if program == Python {
		o.DSN = f.users.DSN(Python)
		return o, file
	}
	user := userOf[program]
	o.DSN = f.users.DSN(user)
	if o.CephConf != "" {
		o.CephUser, o.CephConf = f.cephUser(user), f.cephConf(user)
	}
	return o, filepath.Join(o.Dir, user+".yml")
}

// makeUsers makes the users of the fleet, as docs/operations.md says, and a configuration
// for each. The fleet's own file gets a user for Python's programs.
func (f *Fleet) makeUsers(ctx context.Context) (err error) {
	prefix := "w" + strings.ToLower(rand.Text()) // users belong to all databases of a server
	f.users, err = dbusers.Make(ctx, f.options.DSN, sharedbase.GrantOptions{Prefix: prefix, MinMappedHosts: 1, Also: prefix + "_" + Python})
	if err != nil {
		return err
	}
	python, _ := f.For(Python)
	if err := python.WriteConfig(f.File); err != nil {
		return err
	}
	for program := range userOf {
		o, file := f.For(program)
		if err := o.WriteConfig(file); err != nil {
			return err
		}
	}
	if f.options.CephConf == "" {
		return nil
	}
	return f.makeCephUsers(ctx)
}

func (f *Fleet) cephUser(user string) string { return f.users.Prefix + "-" + user }

func (f *Fleet) cephConf(user string) string {
	return filepath.Join(f.options.Dir, "ceph-"+user+".conf")
}

// outputOption is what writes a keyring to a file, which `ceph` cannot do where it reads
// commands.
var outputOption = regexp.MustCompile(` -o \S+`)

// makeCephUsers makes a ceph.conf for each user that names its keyring.
func (f *Fleet) makeCephUsers(ctx context.Context) error {
	conf, err := os.ReadFile(f.options.CephConf)
	if err != nil {
		return err
	}
	script, err := f.Ctl(ctx, "ceph", "caps", "--prefix", f.users.Prefix)
	if err != nil {
		return err
	}
	_, commands, _ := strings.Cut(outputOption.ReplaceAllString(script, ""), "\n") // without umask
	keyrings, err := f.ceph(ctx, strings.ReplaceAll(commands, "ceph auth ", "auth "))
	if err != nil {
		return err
	}
	for _, user := range userOf {
		section := "[client." + f.cephUser(user) + "]"
		_, rest, found := bytes.Cut(keyrings, []byte(section))
		if !found {
			return fmt.Errorf("ceph printed no key of %s: %s", section, keyrings)
		}
		key, _, _ := bytes.Cut(rest, []byte("["))
		keyring := f.cephConf(user) + ".keyring"
		if err := os.WriteFile(keyring, []byte(section+string(key)), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(f.cephConf(user), fmt.Appendf(conf, "\n%s\nkeyring = %s\n", section, keyring), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// ceph gives the commands to one process of Ceph's tool, which takes a second to start.
func (f *Fleet) ceph(ctx context.Context, commands string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ceph", "--conf", f.options.CephConf)
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(commands), &complaints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("ceph: %w\n%s", err, &complaints)
	}
	return out, err
}

// RemoveUsers removes what makeUsers made in the services.
func (f *Fleet) RemoveUsers(ctx context.Context) error {
	if f.users == nil {
		return nil
	}
	if err := f.users.Drop(ctx); err != nil || f.options.CephConf == "" {
		return err
	}
	commands := ""
	for _, user := range sharedbase.Users {
		commands += "auth rm client." + f.cephUser(user) + "\n"
	}
	_, err := f.ceph(ctx, commands)
	return err
}
