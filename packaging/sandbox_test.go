// SPDX-License-Identifier: GPL-3.0-or-later

package packaging_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"winery/test/expect"
)

// sandbox is this machine's root file system in a mount namespace of its own: what
// is written there is in memory, and gone when the test ends. No systemd runs there.
type sandbox struct {
	pid int    // the process that holds the namespace
	dir string // with root, the root file system, and upper, what was written to it
}

// hold mounts the root file system of the sandbox below $1, and keeps it until its
// standard input ends.
const hold = `set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --bind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
echo mounted
read -r _ || true
`

func newSandbox(t *testing.T) sandbox {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("only root can install a package, even in a mount namespace: run the test as root")
	}
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", hold, "sh", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	expect.NoError(t, err)
	out, err := cmd.StdoutPipe()
	expect.NoError(t, err)
	expect.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		expect.NoError(t, cmd.Wait())
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("cannot mount an overlay of /: %q, %v", line, err)
	}
	return sandbox{cmd.Process.Pid, dir}
}

// try runs a script in the sandbox, without a terminal and without input, and
// returns what it printed.
func (s sandbox) try(script string, args ...string) (string, error) {
	return s.enter(append([]string{"chroot", filepath.Join(s.dir, "root"), "sh", "-ec", script, "sh"}, args...))
}

// run is try for a script that must succeed.
func (s sandbox) run(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := s.try(script, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// changed returns the paths of all files that differ from this machine's, and match
// a pattern of find.
func (s sandbox) changed(t *testing.T, pattern string) string {
	t.Helper()
	upper := filepath.Join(s.dir, "upper") // a file that was removed is a character device there
	out, err := s.enter([]string{"find", upper, "-path", upper + "/" + pattern, "!", "-type", "c", "-printf", "/%P\n"})
	expect.NoError(t, err)
	return out
}

func (s sandbox) enter(command []string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{fmt.Sprintf("--mount=/proc/%d/ns/mnt", s.pid)}, command...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
