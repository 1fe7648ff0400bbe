// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// location says where Ceph is, and as which user to connect. An empty conf means
// Ceph's default places.
type location struct {
	conf    string
	cluster string
	user    string // client.NAME
}

// locate finds Ceph by the settings, then CEPH_ARGS, then CEPH_CONF, as Ceph's
// own tools do. librados takes most options from CEPH_ARGS, but not these.
func locate(s Settings) location {
	l := location{conf: os.Getenv("CEPH_CONF"), cluster: "ceph", user: "client.admin"}
	args := strings.Fields(os.Getenv("CEPH_ARGS"))
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		switch name {
		case "-c", "--conf":
			l.conf = value
		case "--cluster":
			l.cluster = value
		case "-n", "--name":
			l.user = value
		case "-i", "--id", "--user":
			l.user = "client." + value
		}
	}
	if s.User != "" {
		l.user = "client." + strings.TrimPrefix(s.User, "client.")
	}
	l.conf = cmp.Or(s.Conf, l.conf)
	return l
}

// configure reads the ceph.conf and CEPH_ARGS, and sets our own options. No
// ceph.conf is needed where CEPH_ARGS names the monitors.
func (l location) configure(conn *rados.Conn) error {
	if l.conf != "" {
		if err := conn.ReadConfigFile(l.conf); err != nil {
			return fmt.Errorf("cannot read %s (from ceph_conf, CEPH_CONF or CEPH_ARGS): %w", l.conf, err)
		}
	} else if err := conn.ReadDefaultConfigFile(); err != nil && errno(err) != unix.ENOENT {
		return fmt.Errorf("cannot read /etc/ceph/%s.conf: %w", l.cluster, err)
	}
	if err := conn.ParseDefaultConfigEnv(); err != nil {
		return fmt.Errorf("CEPH_ARGS: %w", err)
	}
	monitors, err := conn.GetConfigOption("mon_host")
	if err == nil && monitors == "" {
		err = fmt.Errorf("no monitors: %s names no mon_host; name a ceph.conf by the pool's ceph_conf or by CEPH_CONF",
			cmp.Or(l.conf, "/etc/ceph/"+l.cluster+".conf"))
	}
	for option, value := range options {
		if err == nil {
			err = conn.SetConfigOption(option, value)
		}
	}
	return err
}

// connectError says what a failed connect means.
func (l location) connectError(err error) error {
	var cure string
	switch errno(err) {
	case unix.ETIMEDOUT:
		return fmt.Errorf("cannot connect to Ceph: no monitor answered in time; is Ceph up, and mon_host right?: %w: %w", pool.ErrUnavailable, err)
	case unix.ENOENT:
		cure = "no keyring for " + l.user + "; name it in the ceph.conf, or another user by the pool's ceph_user"
	case unix.EACCES, unix.EPERM, unix.EINVAL:
		cure = "authentication as " + l.user + " was refused; see `ceph auth get " + l.user + "` and the keyring"
	default:
		return fmt.Errorf("cannot connect to Ceph as %s: %w", l.user, err)
	}
	return fmt.Errorf("cannot connect to Ceph: %s: %w", cure, err)
}

// missingPool is pool.ErrNoPool for a pool of Ceph. It does not wrap err, which
// would count as a missing image.
func missingPool(name string, err error) error {
	return fmt.Errorf("%w: no pool %q in Ceph; make it with `ceph osd pool create %[2]s` and `ceph osd pool application enable %[2]s rbd` (%[3]s)", pool.ErrNoPool, name, err.Error())
}

// errno returns the error number that Ceph's libraries or the system gave, or 0.
func errno(err error) unix.Errno {
	var coded interface{ ErrorCode() int }
	if errors.As(err, &coded) {
		return unix.Errno(max(coded.ErrorCode(), -coded.ErrorCode()))
	}
	var number unix.Errno
	errors.As(err, &number)
	return number
}
