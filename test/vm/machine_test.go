// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"winery/test/expect"
)

// A machine is emulated: what takes longer hangs. See limited.
const (
	bootTimeout   = 10 * time.Minute
	scriptTimeout = 10 * time.Minute
)

// kernelArguments make a short boot: no page-table isolation, which would flush
// the emulator's TLB at each system call, no self-tests, no security modules.
const kernelArguments = "console=ttyS0 quiet systemd.show_status=1 mitigations=off nokaslr no5lvl cryptomgr.notests " +
	"random.trust_cpu=on rcupdate.rcu_expedited=1 tsc=reliable no_timer_check audit=0 selinux=0 apparmor=0 net.ifnames=0 panic=-1"

// machine is a virtual machine that has booted.
type machine struct {
	conn    net.Conn // to systemd/vm/vm-guest.service
	scripts *json.Encoder
	answers *json.Decoder
	console string // path of what kernel and systemd print
	writer  string // address on the host that leads to port 5003 in the machine
	monitor net.Conn
	events  *bufio.Scanner // of monitor

	qemu *exec.Cmd
	cut  sync.Once
}

// boot starts a machine with the files of overlay laid over a fresh Debian, and
// with its loopback ports forwarded to the host's. Each of disks is a file that
// the machine has as a further disk, /dev/vdb first, and that keeps what the
// machine writes; all else is gone with the machine, which ends with the test.
func boot(t *testing.T, overlay string, ports []string, disks ...string) *machine {
	t.Helper()
	install(t, overlay, ports)
	image := output(t, "../../scripts/vm-image", "../../.cache/vm")
	m := &machine{console: filepath.Join(t.TempDir(), "console")}
	conn, theirs := socketPair(t)
	m.conn, m.scripts, m.answers = conn, json.NewEncoder(conn), json.NewDecoder(conn)
	monitor, theirMonitor := socketPair(t)
	t.Cleanup(func() { _ = monitor.Close() })
	m.monitor, m.events = monitor, bufio.NewScanner(monitor)

	var complaint bytes.Buffer
	arguments := []string{
		"-machine", "q35,vmport=off,smm=off,hpet=off", "-accel", "tcg,thread=multi,tb-size=512",
		"-cpu", "max,la57=off", "-smp", "2", "-m", "1024",
		"-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-no-reboot",
		"-kernel", filepath.Join(image, "vmlinux"), "-initrd", filepath.Join(image, "initrd.cpio"), "-append", fmt.Sprint(kernelArguments, " tsc_early_khz=", timeStampRate()),
		"-drive", "file=" + filepath.Join(image, "root.ext4") + ",format=raw,if=virtio,snapshot=on,cache=unsafe,aio=threads",
		"-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:5003", "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
		"-virtfs", "local,path=" + overlay + ",mount_tag=share,security_model=none,readonly=on,multidevs=remap",
		"-chardev", "socket,id=monitor,fd=4", "-mon", "chardev=monitor,mode=control",
		"-chardev", "file,id=console,path=" + m.console, "-serial", "chardev:console",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=test,fd=3", "-device", "virtserialport,chardev=test,name=test",
	}
	for _, disk := range disks {
		arguments = append(arguments, "-drive", "file="+disk+",format=raw,if=virtio,cache=writeback,aio=threads")
	}
	qemu := exec.Command("qemu-system-x86_64", arguments...)
	qemu.ExtraFiles = []*os.File{theirs, theirMonitor}
	qemu.Stderr = &complaint
	if err := qemu.Start(); err != nil {
		t.Fatalf("%v: run scripts/install-deps vm", err)
	}
	theirs.Close()
	theirMonitor.Close()
	m.qemu = qemu
	t.Cleanup(func() {
		m.cutPower()
		if complaint.Len() > 0 {
			t.Logf("QEMU: %s", &complaint)
		}
	})

	began := time.Now()
	m.writer = m.forwarded(t)
	m.within(t, bootTimeout, "systemctl is-system-running --wait")
	t.Logf("booted in %.1f s, by its own clock in %s s", time.Since(began).Seconds(), strings.Fields(m.run(t, "cat /proc/uptime"))[0])
	return m
}

// cutPower ends the machine in the middle of what it does. What it had in its own
// page cache is lost. A second call does nothing.
func (m *machine) cutPower() {
	m.cut.Do(func() {
		m.conn.Close()
		_ = m.qemu.Process.Kill()
		_ = m.qemu.Wait() // killed
	})
}

// reboot has the machine shut down and boot again. It keeps what is on its disks.
// between is called when the machine is down.
func (m *machine) reboot(t *testing.T, between func()) {
	t.Helper()
	m.ask(t, `{"execute": "set-action", "arguments": {"reboot": "reset"}}`)
	m.run(t, "systemd-run --quiet --on-active=1 systemctl reboot")
	m.await(t, regexp.MustCompile(`"event": "RESET"`))
	between()
}

// forwarded asks QEMU which port of the host it was given.
func (m *machine) forwarded(t *testing.T) string {
	t.Helper()
	m.ask(t, `{"execute": "qmp_capabilities"}
		{"execute": "human-monitor-command", "arguments": {"command-line": "info usernet"}}`)
	return "127.0.0.1:" + m.await(t, regexp.MustCompile(`HOST_FORWARD\] +\d+ +127\.0\.0\.1 +(\d+)`))[1]
}

// ask sends commands to QEMU.
func (m *machine) ask(t *testing.T, commands string) {
	t.Helper()
	expect.NoError(t, m.monitor.SetDeadline(time.Now().Add(bootTimeout)))
	_, err := m.monitor.Write([]byte(commands))
	expect.NoError(t, err)
}

// await waits for a line of QEMU's that matches.
func (m *machine) await(t *testing.T, line *regexp.Regexp) []string {
	t.Helper()
	for m.events.Scan() {
		if match := line.FindStringSubmatch(m.events.Text()); match != nil {
			return match
		}
	}
	t.Fatalf("QEMU does not say %s: %v", line, m.events.Err())
	return nil
}

// install adds to overlay what answers the test.
func install(t *testing.T, overlay string, ports []string) {
	t.Helper()
	program := filepath.Join(overlay, "usr/local/bin/vm-guest")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, "./guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	unit, err := os.ReadFile("../../systemd/vm/vm-guest.service")
	expect.NoError(t, err)
	write(t, filepath.Join(overlay, "etc/systemd/system/vm-guest.service"), string(unit))
	wanted := filepath.Join(overlay, "etc/systemd/system/multi-user.target.wants")
	expect.NoError(t, os.MkdirAll(wanted, 0o755))
	expect.NoError(t, os.Symlink("../vm-guest.service", filepath.Join(wanted, "vm-guest.service")))
	write(t, filepath.Join(overlay, "etc/vm-guest"), "PORTS="+strings.Join(ports, " ")+"\n")
}

// run runs a script in the machine and returns what it printed. One that fails
// fails the test.
func (m *machine) run(t *testing.T, script string) string {
	t.Helper()
	return m.within(t, scriptTimeout, script)
}

func (m *machine) within(t *testing.T, limit time.Duration, script string) string {
	t.Helper()
	out, err := m.do(limit, script)
	if err != nil {
		state, _ := m.do(limit, stateOfMachine) // of a machine that answers
		t.Fatalf("in the machine: %s: %v\n%s\nthe end of its console:\n%s\nits state:\n%s", script, err, out, m.tail(), state)
	}
	return out
}

// stateOfMachine prints what an operator would look at: the units, the journal, what
// the kernel says, mapped images, and the kernel's requests to Ceph.
const stateOfMachine = `systemctl show --property Id,ActiveState,SubState,StatusText,NRestarts 'winery*'
	journalctl --no-pager --boot --lines 150 --output short-monotonic
	dmesg | tail -n 30
	ls /dev/rbd/* || true
	mount -t debugfs none /sys/kernel/debug || true
	tail -n 50 /sys/kernel/debug/ceph/*/{osdc,monc} || true`

// do runs a script for as long as limit, and waits for its end.
func (m *machine) do(limit time.Duration, script string) (string, error) {
	var answer struct {
		Output string
		Status int
	}
	err := m.limited(limit+time.Minute, func() error {
		command := fmt.Sprintf("timeout %d bash -euo pipefail -c '%s'", int(limit.Seconds()), strings.ReplaceAll(script, "'", `'\''`))
		if err := m.scripts.Encode(command); err != nil {
			return err
		}
		return m.answers.Decode(&answer)
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("no answer: %w", err)
	case answer.Status != 0:
		return answer.Output, fmt.Errorf("exit status %d", answer.Status)
	}
	return answer.Output, nil
}

// tail is the end of the console.
func (m *machine) tail() string {
	text, err := os.ReadFile(m.console)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// socketPair connects the test with a file for another process.
func socketPair(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	expect.NoError(t, err)
	ours := os.NewFile(uintptr(pair[0]), "socket pair")
	defer ours.Close()
	conn, err := net.FileConn(ours) // duplicates it
	expect.NoError(t, err)
	return conn, os.NewFile(uintptr(pair[1]), "socket pair")
}

// output runs a program of the host and returns the line that it printed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &complaint)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	expect.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	expect.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}
