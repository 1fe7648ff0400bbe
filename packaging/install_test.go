// SPDX-License-Identifier: GPL-3.0-or-later

package packaging_test

import (
	"strings"
	"testing"
)

// TestInstall installs the package, upgrades it to another version and back, removes
// and purges it, where no systemd runs.
func TestInstall(t *testing.T) {
	s := newSandbox(t)
	install := func(t *testing.T, deb string) {
		t.Helper()
		if out := s.run(t, `dpkg --install "$1" </dev/null`, deb); strings.Contains(out, "[default=") {
			t.Errorf("dpkg asked:\n%s", out)
		}
	}
	first := deb(t, "winery")
	version := s.run(t, `dpkg-deb --field "$1" Version`, first)

	install(t, first)
	install(t, first) // again: nothing changes
	for _, program := range programs {
		want := program + " version " + strings.TrimSuffix(version, "-1")
		if got := s.run(t, `"$1" --version`, program); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := s.run(t, `man --where 8 "$1"`, program); got != "/usr/share/man/man8/"+program+".8.gz" {
			t.Errorf("the man page of %s is %s", program, got)
		}
	}
	for _, unit := range units {
		unit = strings.Replace(unit, "@.", "@shards.", 1)
		if out := s.run(t, `systemd-analyze verify --man=no "$1"`, unit); out != "" {
			t.Errorf("%s: %s", unit, out)
		}
	}
	if got := s.run(t, `getent passwd winery | cut -d : -f 1,7; stat --format %A:%U:%G /etc/winery`); got != "winery:/usr/sbin/nologin\ndrwxr-x---:root:winery" {
		t.Errorf("user and folder of the configuration: %q", got)
	}
	for _, unit := range units {
		if got, err := s.try(`systemctl --root=/ is-enabled "$1"`, unit); got != "disabled" {
			t.Errorf("%s is %s, %v", unit, got, err)
		}
	}
	// What an operator and the roles add.
	s.run(t, `
		install -m 0640 -g winery /usr/share/doc/winery/examples/winery.yml /etc/winery/winery.yml
		echo '# of this site' >>/etc/winery/winery.yml
		install /usr/share/doc/winery/examples/winery.env /etc/default/winery
		install -D -o winery -g winery /dev/null /srv/winery/shards/image
		systemctl --root=/ --quiet enable winery.target winery-writer.socket winery-writer.service winery-packer@shards.service
		mkdir /etc/systemd/system/winery-writer.service.d /etc/systemd/system/winery-writer.socket.d /etc/systemd/system/winery-packer@shards.service.d
		touch /etc/systemd/system/winery-writer.service.d/override.conf
		install -D -t /etc/udev/rules.d /lib/udev/rules.d/60-winery.rules`)
	const kept = `sha256sum /etc/winery/winery.yml /etc/default/winery /etc/systemd/system/winery-writer.service.d/override.conf /etc/udev/rules.d/60-winery.rules
		stat --format %n:%F:%U:%s /srv/winery/shards/image /etc/systemd/system/*.wants/winery*`
	before := s.run(t, kept)
	unchanged := func(t *testing.T, when string) {
		t.Helper()
		if after := s.run(t, kept); after != before {
			t.Errorf("%s: before\n%s\nafter\n%s", when, before, after)
		}
	}
	if strings.Count(before, "symbolic link") != 4 {
		t.Errorf("the units are not enabled:\n%s", before)
	}

	// A newer version, which also has another example of the configuration.
	s.run(t, `
		dpkg-deb --raw-extract "$1" /newer
		sed -i 's/^Version: .*/Version: 9:1-1/' /newer/DEBIAN/control
		echo '# newer' >>/newer/usr/share/doc/winery/examples/winery.yml
		rm /newer/DEBIAN/conffiles # nfpm's has an empty line only
		dpkg-deb --build -Zgzip -z1 /newer /newer.deb`, first)
	for _, step := range []struct{ deb, version string }{{"/newer.deb", "9:1-1"}, {first, version}} {
		install(t, step.deb)
		if got := s.run(t, `dpkg-query -W -f '${Version} ${db:Status-Status}' winery`); got != step.version+" installed" {
			t.Errorf("installed %s, want version %s", got, step.version)
		}
		unchanged(t, "after the installation of "+step.version)
	}

	s.run(t, `rm -r /newer /newer.deb; dpkg --remove winery`)
	unchanged(t, "after the removal")
	if out, err := s.try(`command -v winery-writer`); err == nil {
		t.Errorf("removal left %s", out)
	}
	// A mount point cannot be removed.
	s.run(t, `mount -t tmpfs tmpfs /var/cache/winery; touch /var/cache/winery/head; dpkg --purge winery`)
	if left := s.run(t, `ls -A /var/cache/winery; umount /var/cache/winery; rmdir /var/cache/winery`); left != "" {
		t.Errorf("purging left %s on the file system of /var/cache/winery", left)
	}
	if left := s.changed(t, "*winery*"); left != "/srv/winery\n/srv/winery/shards\n/srv/winery/shards/image" {
		t.Errorf("purging left\n%s", left)
	}
	if got := s.run(t, `stat --format %U:%n /srv/winery/shards/image`); got != "winery:/srv/winery/shards/image" {
		t.Errorf("purging changed data: %s", got)
	}
}
