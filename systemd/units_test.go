// SPDX-License-Identifier: GPL-3.0-or-later

// Package systemd_test checks the units, and the example configuration.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"winery/internal/config"
)

// roles are the units' programs, by unit.
var roles = map[string]string{
	"winery-writer.service":     "winery-writer",
	"winery-packer@.service":    "winery-packer",
	"winery-rbd-mapper.service": "winery-rbd-mapper",
	"winery-cleaner.service":    "winery-cleaner",
}

func TestExampleConfiguration(t *testing.T) {
	c, err := config.Load("winery.yml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Error(c.Warnings)
	}
	// What it says of the defaults must be true: with all that is commented out
	// put in, nothing changes but the pools and what the role would choose.
	text, err := os.ReadFile("winery.yml")
	if err != nil {
		t.Fatal(err)
	}
	setting := regexp.MustCompile(`(?m)^( *)# ([a-z_]+: .*|- type: .*|  [a-z_]+: .*)$`)
	for _, example := range []string{"application_name", "ceph_conf", "ceph_user"} {
		text = regexp.MustCompile(`(?m)^.*# `+example+`: .*$`).ReplaceAll(text, nil)
	}
	all, err := config.Parse("winery.yml", setting.ReplaceAll(text, []byte("$1$2")))
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Pools) != 4 || all.Pools[1].Type != config.Directory || all.Pools[1].BaseDirectory != "/srv/winery" ||
		all.Pools[2].Type != config.Mosaic || !all.Pools[2].Compression ||
		all.Pools[3].Type != config.MosaicS3 || !strings.HasPrefix(all.Pools[3].S3.BaseURL, "s3://") {
		t.Fatalf("pools: %+v", all.Pools)
	}
	if a, b := c.Pools[0], all.Pools[0]; a.DataPool != b.DataPool || a.UseSudo != b.UseSudo || a.MapOptions != b.MapOptions ||
		a.Map != b.Map || len(b.FeaturesUnsupported) > 0 {
		t.Errorf("defaults of the pool: %+v, and with what the comments say: %+v", a, b)
	}
	if c.Winery != all.Winery || c.Packer != all.Packer || c.RWIdleTimeout != all.RWIdleTimeout || c.Name != all.Name ||
		c.ReadersCacheSize != all.ReadersCacheSize || c.AllowDelete != all.AllowDelete || c.ReadOnly != all.ReadOnly {
		t.Errorf("defaults: %+v, and with what the comments say: %+v", c, all)
	}
}

// TestVerify has systemd read the units, with programs that exist.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	for unit, program := range roles {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\nExecStart=/usr/bin/"+program+" --config %d/winery.yml") {
			t.Errorf("%s does not start %s with its credential", unit, program)
		}
		unit = strings.Replace(unit, "@.", "@cold.", 1)
		place(t, filepath.Join(dir, unit), strings.ReplaceAll(string(text), "/usr/bin/"+program, filepath.Join(dir, program)), 0o600)
		place(t, filepath.Join(dir, program), "#!/bin/sh\n", 0o700)
	}
	for _, unit := range []string{"winery.target", "winery-writer.socket"} {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		place(t, filepath.Join(dir, unit), string(text), 0o600)
	}
	analyze(t, "verify", "--man=no", filepath.Join(dir, "winery-writer.socket"))
	for unit := range roles {
		unit = strings.Replace(unit, "@.", "@cold.", 1)
		analyze(t, "verify", "--man=no", filepath.Join(dir, unit))
	}
}

// TestSettings: systemd restarts a role after every exit, except a requested stop
// and a wrong configuration; each role has limits, and can be reloaded.
func TestSettings(t *testing.T) {
	for unit := range roles {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for _, setting := range []string{
			"Restart=on-failure", "RestartForceExitStatus=SIGHUP SIGINT SIGPIPE SIGTERM", "RestartPreventExitStatus=78",
			"StartLimitIntervalSec=0", "WatchdogSignal=SIGKILL", "LogRateLimitIntervalSec=5", "LogRateLimitBurst=2000",
			"RestartSec=2", "ExecReload=/bin/sh -c 'kill -HUP $MAINPID'", "LimitNOFILE=16384",
		} {
			if strings.Count(string(text), "\n"+setting+"\n") != 1 {
				t.Errorf("%s: no %s", unit, setting)
			}
		}
		for _, limit := range []string{"MemoryMax=[0-9]+G", "TasksMax=[0-9]+"} {
			if !regexp.MustCompile("\n" + limit + "\n").Match(text) {
				t.Errorf("%s: no %s", unit, limit)
			}
		}
	}
}

// TestNoMountIsRequired: systemd does not try a start again that failed because a
// file system could not be mounted, and a later mount starts nothing. A role waits
// for its pool by itself.
func TestNoMountIsRequired(t *testing.T) {
	for unit := range roles {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if line := regexp.MustCompile(`(?m)^(Requires|Requisite|BindsTo)(MountsFor)?=.*$`).Find(text); line != nil {
			t.Errorf("%s has %s", unit, line)
		}
		if !regexp.MustCompile(`(?m)^After=.* remote-fs\.target$`).Match(text) {
			t.Errorf("%s does not start after the mounts of file servers", unit)
		}
		if strings.Contains(string(text), "=/srv/winery\n") {
			t.Errorf("%s needs the folder of the pools to start", unit)
		}
	}
}

// TestWrongConfigurationPausesTheWriter: its socket starts the writer again while a
// client waits, and would fail after 20 starts within 2 s.
func TestWrongConfigurationPausesTheWriter(t *testing.T) {
	text, err := os.ReadFile("winery-writer.service")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^ExecStopPost=/bin/sh -c '(.*)'$`).FindSubmatch(text)
	if command == nil {
		t.Fatal("winery-writer.service does nothing after a wrong configuration")
	}
	bin := t.TempDir()
	place(t, filepath.Join(bin, "sleep"), "#!/bin/sh\necho sleep \"$@\"\n", 0o700)
	for status, want := range map[string]string{"78": "sleep 2\n", "0": "", "1": "", "TERM": ""} {
		cmd := exec.Command("/bin/sh", "-c", string(command[1]))
		cmd.Env = []string{"EXIT_STATUS=" + status, "PATH=" + bin}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("after status %s: %q, %v, want %q", status, out, err, want)
		}
	}
}

// TestEnvironment: what is in /etc/default/winery counts for every role and instance,
// and more than Environment= of a unit.
func TestEnvironment(t *testing.T) {
	text, err := os.ReadFile("winery.env")
	if err != nil {
		t.Fatal(err)
	}
	settings := regexp.MustCompile(`(?m)^#?([A-Z0-9_]+)=(.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(settings) < 5 {
		t.Fatalf("found only the settings %q", settings)
	}
	for _, setting := range settings {
		if strings.HasPrefix(setting[1], "PG") || setting[1] == "CEPH_ARGS" {
			t.Errorf("%s would name the user of every role, also where its unit names another one", setting[0])
		}
		if strings.Contains(setting[2], "--telemetry-listen") {
			t.Errorf("%s gives one address to every instance", setting[0])
		}
	}
}

// TestExposure bounds what a role that was broken into could reach.
func TestExposure(t *testing.T) {
	for unit := range roles {
		limit := 1.5
		if unit == "winery-rbd-mapper.service" {
			limit = 2.8 // it maps devices as root
		}
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), strings.Replace(unit, "@.", "@cold.", 1))
		place(t, file, string(text), 0o600)
		out := analyze(t, "security", "--offline=true", file)
		found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("%s: no exposure level in\n%s", unit, out)
		}
		level, err := strconv.ParseFloat(found[1], 64)
		if err != nil || level > limit {
			t.Errorf("%s: exposure %s, want at most %.1f", unit, found[1], limit)
		}
		t.Logf("%s: exposure %s", unit, found[1])
	}
}

// TestSocket: by default the socket's address is that of a configuration that names
// none.
func TestSocket(t *testing.T) {
	c, err := config.Load("winery.yml", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("winery-writer.socket")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\nListenStream="+c.Winery.Listen+"\n") {
		t.Errorf("the socket does not listen on %s", c.Winery.Listen)
	}
}

// Each role works without the others, and starts without them: the first round
// of a mapper must not delay adds.
func TestNoRoleWaitsForAnother(t *testing.T) {
	for unit := range roles {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if line := regexp.MustCompile(`(?m)^(After|Requires|BindsTo)=.*winery-.*$`).Find(text); line != nil {
			t.Errorf("%s has %s", unit, line)
		}
	}
}

// TestRules: the pool of the rule is that of the example configuration.
func TestRules(t *testing.T) {
	c, err := config.Load("winery.yml", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("winery.rules")
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for line := range strings.Lines(string(text)) {
		if line[0] != '#' {
			rules = append(rules, line)
		}
	}
	if len(rules) != 1 || !strings.Contains(rules[0], `ATTRS{pool}=="`+c.Pools[0].Name+`"`) {
		t.Errorf("the rules are %q, want one for pool %s", rules, c.Pools[0].Name)
	}
}

func place(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// analyze runs systemd-analyze, which must not have anything to complain of.
func analyze(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_COLORS=0", "SYSTEMD_EMOJI=0", "SYSTEMD_PAGER=")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, complaints.String())
	}
	return string(out)
}
