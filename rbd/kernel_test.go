// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"winery/pool"
	"winery/rbd"
	"winery/test/expect"
)

// The kernel's part of these tests is played by files and a script; the real
// driver's is in test/vm.

// fakeKernel returns a pool that sees /sys and /dev of a host with some images
// mapped, and a function that returns the rbd commands run so far. rbd's body
// is what the command does to the folder $root, which has sys and dev.
func fakeKernel(t *testing.T, rbdBody string, change func(*rbd.Settings)) (p *rbd.Pool, commands func() string) {
	t.Helper()
	root := t.TempDir()
	attributes := func(dir string, values map[string]string) {
		expect.NoError(t, os.MkdirAll(filepath.Join(root, "sys", dir), 0o755))
		for name, value := range values {
			expect.NoError(t, os.WriteFile(filepath.Join(root, "sys", dir, name), []byte(value+"\n"), 0o600))
		}
	}
	ids := map[string]string{}
	for id, d := range map[string]struct{ pool, ns, image, snap, ro string }{
		"0":  {"shards", "", "readable", "-", "1"},
		"1":  {"shards", "", "writable", "-", "0"},
		"2":  {"other", "", "elsewhere", "-", "1"},
		"3":  {"shards", "space", "in-a-namespace", "-", "1"},
		"4":  {"shards", "", "of-a-snapshot", "snap", "1"},
		"6":  {"shards", "", "made-again", "-", "1"},
		"7":  {"shards", "", "made-again-writable", "-", "0"},
		"10": {"shards", "", "readable-too", "-", "1"},
	} {
		attributes("bus/rbd/devices/"+id, map[string]string{
			"pool": d.pool, "pool_ns": d.ns, "name": d.image, "current_snap": d.snap, "image_id": "id of device " + id,
		})
		ids[d.image] = "id of device " + id
		if strings.HasPrefix(d.image, "made-again") {
			ids[d.image] = "another id"
		}
		attributes("block/rbd"+id, map[string]string{"ro": d.ro})
		links := filepath.Join(root, "dev/rbd", d.pool)
		expect.NoError(t, os.MkdirAll(links, 0o755))
		expect.NoError(t, os.Symlink("../../rbd"+id, filepath.Join(links, d.image)))
	}
	// A device that disappears while its attributes are read.
	attributes("bus/rbd/devices/5", map[string]string{"pool": "shards"})

	bin := t.TempDir()
	log := filepath.Join(bin, "log")
	script := "#!/bin/sh\nroot=" + root + "\necho \"$@\" >> " + log + "\n" + rbdBody + "\n"
	expect.NoError(t, os.WriteFile(filepath.Join(bin, "rbd"), []byte(script), 0o700))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))

	s := rbd.Settings{PoolName: "shards", ShardMaxSize: 1, Conf: "/etc/ceph/some.conf", User: "mapper"}
	change(&s)
	p = open(t, s)
	p.UseKernelAt(root, time.Minute)
	p.UseIDs(ids)
	return p, func() string {
		b, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(b), root, "")
	}
}

// What driver and udev do: parts of a body. Each image that is mapped becomes device 20.
const (
	driver = `
		for last; do :; done
		case "$*" in
		*" device map "*)
			mkdir -p "$root/sys/bus/rbd/devices/20" "$root/sys/block/rbd20"
			cd "$root/sys/bus/rbd/devices/20"
			echo shards >pool; echo - >current_snap; echo "$last" >name
			case "$*" in *" --read-only "*) echo 1 ;; *) echo 0 ;; esac >"$root/sys/block/rbd20/ro" ;;
		*" device unmap "*)
			rm -r "$root/sys/bus/rbd/devices/${last##*/rbd}" ;;
		esac
`
	makeLink = `ln -sfn ../../rbd20 "$root/dev/rbd/shards/$last"`
	udev     = `
		case "$*" in *" device map "*) ` + makeLink + ` ;; esac
`
)

func asIs(*rbd.Settings) {}

const toCeph = "--name client.mapper --cluster ceph --conf /etc/ceph/some.conf "

func TestKernelMapped(t *testing.T) {
	p, _ := fakeKernel(t, "", asIs)
	mapped, err := p.Mapped(t.Context())
	expect.NoError(t, err)
	if got := slices.Sorted(maps.Keys(mapped)); !slices.Equal(got, []string{"readable", "readable-too"}) {
		t.Errorf("mapped are %q", got)
	}

	p.UseKernelAt(t.TempDir(), time.Second)
	if mapped, err := p.Mapped(t.Context()); err != nil || len(mapped) > 0 {
		t.Errorf("without a driver: %v, %v", mapped, err)
	}
	if _, err := p.OpenMapped(t.Context(), "readable"); !errors.Is(err, pool.ErrNotMapped) {
		t.Errorf("OpenMapped: got %v, want ErrNotMapped", err)
	}
}

func TestKernelCommands(t *testing.T) {
	const mapAs = "device map -o ms_mode=prefer-crc,queue_depth=8 --read-only --pool shards --image "
	for _, tt := range []struct {
		name   string
		change func(*rbd.Settings)
		do     func(*rbd.Pool) error
		want   []string
	}{
		{"map", asIs, func(p *rbd.Pool) error { return p.Map(t.Context(), "new") }, []string{mapAs + "new"}},
		{"map what is mapped", asIs, func(p *rbd.Pool) error { return p.Map(t.Context(), "readable") }, nil},
		{"map what is writable", asIs, func(p *rbd.Pool) error { return p.Map(t.Context(), "writable") },
			[]string{"device unmap /dev/rbd1", mapAs + "writable"}},
		{"map what was removed and made again", asIs, func(p *rbd.Pool) error { return p.Map(t.Context(), "made-again") },
			[]string{"device unmap /dev/rbd6", mapAs + "made-again"}},
		{"map what was writable, removed and made again", asIs, func(p *rbd.Pool) error { return p.Map(t.Context(), "made-again-writable") },
			[]string{"device unmap /dev/rbd7", mapAs + "made-again-writable"}},
		{"map in a mode", func(s *rbd.Settings) { s.MapOptions = "ms_mode=secure,queue_depth=64" },
			func(p *rbd.Pool) error { return p.Map(t.Context(), "new") },
			[]string{"device map -o ms_mode=secure,queue_depth=64 --read-only --pool shards --image new"}},
		{"map with options", func(s *rbd.Settings) { s.MapOptions = "queue_depth=64" },
			func(p *rbd.Pool) error { return p.Map(t.Context(), "new") },
			[]string{"device map -o queue_depth=64,ms_mode=prefer-crc --read-only --pool shards --image new"}},
		{"unmap", asIs, func(p *rbd.Pool) error { return p.Unmap(t.Context(), "readable-too") }, []string{"device unmap /dev/rbd10"}},
		{"unreserve", asIs, func(p *rbd.Pool) error { return p.Unreserve(t.Context(), "writable") }, []string{"device unmap /dev/rbd1"}},
		{"unreserve what is mapped read-only", asIs, func(p *rbd.Pool) error { return p.Unreserve(t.Context(), "readable") }, nil},
		{"unmap what is not mapped", asIs, func(p *rbd.Pool) error { return p.Unmap(t.Context(), "new") }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, commands := fakeKernel(t, driver+udev, tt.change)
			expect.NoError(t, tt.do(p))
			want := ""
			for _, c := range tt.want {
				want += toCeph + c + "\n"
			}
			if got := commands(); got != want {
				t.Errorf("ran\n%swant\n%s", got, want)
			}
		})
	}
}

func TestKernelFailures(t *testing.T) {
	for _, tt := range []struct {
		name string
		body string
		do   func(*rbd.Pool) error
		is   error
		says string
	}{
		{"no image", "echo no such image >&2; exit 2", func(p *rbd.Pool) error { return p.Map(t.Context(), "new") }, pool.ErrNotFound, "no such image"},
		{"busy", "echo it is read >&2; exit 16", func(p *rbd.Pool) error { return p.Unmap(t.Context(), "readable") }, pool.ErrInUse, "it is read"},
		{"hang", "exec sleep 60", func(p *rbd.Pool) error {
			p.LimitCommands(500 * time.Millisecond)
			return p.Map(t.Context(), "new")
		}, nil, "not finished after 500ms"},
		{"sudo", "echo a password is required >&2; exit 1", func(p *rbd.Pool) error { return p.Map(t.Context(), "new") }, nil, "password is required"},
		{"no driver", "exit 2", func(p *rbd.Pool) error {
			p.UseKernelAt(t.TempDir(), time.Minute)
			return p.Map(t.Context(), "new")
		}, nil, "modprobe rbd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := fakeKernel(t, tt.body, asIs)
			err := tt.do(p)
			if err == nil || (tt.is != nil && !errors.Is(err, tt.is)) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %v and %q", err, tt.is, tt.says)
			}
			if tt.is == nil && errors.Is(err, pool.ErrNotFound) {
				t.Errorf("taken for a missing image: %v", err)
			}
		})
	}
}

// TestNoLink: where udev makes no link, readers find no device, and neither does the next
// attempt to map the image. So the image is unmapped, whether the command has succeeded or
// was ended while it waited for udev.
func TestNoLink(t *testing.T) {
	const waits = `case "$*" in *" device map "*) exec sleep 60 ;; esac`
	for what, tt := range map[string]struct{ body, says string }{
		"mapped": {driver, ""},
		"ended":  {driver + waits, "not finished after 3s"},
	} {
		for how, do := range map[string]func(*rbd.Pool) error{
			"read-only": func(p *rbd.Pool) error { return p.Map(t.Context(), "new") },
			"writable":  func(p *rbd.Pool) error { return p.MapWritable(t.Context(), "new") },
		} {
			t.Run(what+" "+how, func(t *testing.T) {
				p, commands := fakeKernel(t, tt.body, asIs)
				p.LimitCommands(3 * time.Second)
				for range 2 {
					err := do(p)
					if err == nil || !strings.Contains(err.Error(), "dev/rbd/shards/new") || !strings.Contains(err.Error(), "udev") ||
						!strings.Contains(err.Error(), tt.says) {
						t.Errorf("got %v, want the link that udev does not make, and %q", err, tt.says)
					}
				}
				if got := commands(); strings.Count(got, "device map") != 2 || strings.Count(got, "device unmap /dev/rbd20\n") != 2 {
					t.Errorf("ran\n%swant two attempts, each unmapped", got)
				}
			})
		}
	}
}

// TestLateLink: with the option noudev the command does not wait for udev, which makes the
// link when the command has ended.
func TestLateLink(t *testing.T) {
	const later = `
		case "$*" in *" device map "*) (while kill -0 $$; do :; done; ` + makeLink + `) >/dev/null 2>&1 & ;; esac
`
	p, commands := fakeKernel(t, driver+later, func(s *rbd.Settings) { s.MapOptions = "noudev" })
	p.LimitCommands(time.Minute)
	expect.NoError(t, p.Map(t.Context(), "new"))
	if got := commands(); strings.Contains(got, "unmap") {
		t.Errorf("ran\n%s", got)
	}
	mapped, err := p.Mapped(t.Context())
	expect.NoError(t, err)
	if !mapped["new"] {
		t.Errorf("mapped are %v", mapped)
	}
}

// TestUnreserveIsCheap: a host with thousands of devices does not list them for an image
// that is not mapped writable.
func TestUnreserveIsCheap(t *testing.T) {
	p, _ := fakeKernel(t, "", asIs)
	root := t.TempDir()
	expect.NoError(t, os.MkdirAll(filepath.Join(root, "sys/bus/rbd"), 0o755))
	expect.NoError(t, os.WriteFile(filepath.Join(root, "sys/bus/rbd/devices"), nil, 0o600)) // cannot be listed
	p.UseKernelAt(root, time.Second)
	if _, err := p.Mapped(t.Context()); err == nil {
		t.Fatal("the devices can be listed, so this test proves nothing")
	}
	expect.NoError(t, p.Unreserve(t.Context(), "new"))
}
