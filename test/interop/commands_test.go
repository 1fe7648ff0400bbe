// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"winery/test/fleettest"
	"winery/test/harness"
)

// command is a command of Python Winery with its counterpart in Go Winery: on two
// copies of a site they print the same and leave the same state.
type command struct {
	name    string // Python's
	program string // of Go Winery
	words   []string
	prepare string // SQL
	rw      bool   // images are writable at first, as packers have them
	rounds  []round
}

// round is a call of each with its own words for the same.
type round struct {
	theirs, ours []string
	changes      bool // something must change; otherwise nothing may
}

// commands are the commands of Python Winery with a counterpart in Go Winery. The
// tests avoid their known weaknesses (docs/interop.md).
func commands(s *site) []command {
	readonly, packed := s.shards["readonly"], s.shards["packed"]
	asJSON := []string{"--output", "json"}
	return []command{
		{"list-open-shards", "wineryctl", args("shards", "list"), "", false, []round{
			{nil, args("--open", "--output", "json"), false},
			{args("-s", "packing"), args("--state", "packing", "--output", "json"), false},
			{args("-l", "--no-humanize"), args("--open", "--long", "--output", "json"), false},
		}},
		{"list-stale-shards", "wineryctl", args("shards", "stale"), "", false, []round{
			{nil, asJSON, false},
			{args("-d", "12 hours"), args("-d", "12 hours", "--output", "json"), false},
			{args("-d", "7d"), args("-d", "7d", "--output", "json"), false},
		}},
		{"release-stale-shards", "wineryctl", args("shards", "release"), "", false, []round{
			{args("--dry-run"), args("--dry-run", "--output", "json"), false},
			{args("-d", "30m", "--shard", s.shards["writing"][1]), args("-d", "30m", "--shard", s.shards["writing"][1], "--output", "json"), true},
			{args("--locker", someone), args("--locker", someone, "--output", "json"), true},
			{nil, asJSON, true},
			{args("-d", "1d"), args("-d", "1d", "--output", "json"), true},
		}},
		{"import-shards", "wineryctl", args("shards", "import"), fmt.Sprintf(`
			UPDATE signature2shard SET shard = (SELECT id FROM shards WHERE name = '%[3]s')
				WHERE signature = (SELECT signature FROM signature2shard JOIN shards ON id = shard WHERE name = '%[1]s' LIMIT 1);
			DELETE FROM signature2shard WHERE shard IN (SELECT id FROM shards WHERE name IN ('%[1]s', '%[2]s'));
			DELETE FROM shards WHERE name IN ('%[1]s', '%[2]s')`, readonly[0], readonly[1], readonly[2]), false, []round{
			{args("-n", cold), args("-n", cold), false},
			{args("--no-progress"), nil, true},
		}},
		// Go Winery clears the hosts that have mapped the image, because no host
		// has mapped the copy yet.
		{"migrate-pool", "wineryctl", args("shards", "migrate"), "UPDATE shards SET mapped_on_hosts_when_packed = '{}'", false, []round{
			{args("--no-progress", "-i", readonly[0], "--no-db-update", harness.PoolName, cold), args("-i", readonly[0], "--no-db-update", harness.PoolName, cold), true},
			{args("--no-progress", "-i", readonly[0], "--no-transfer-images", harness.PoolName, cold), args("-i", readonly[0], "--no-transfer", harness.PoolName, cold), true},
			{args("--no-progress", "-i", readonly[1], "-i", readonly[2], "-n", "1", harness.PoolName, cold), args("-i", readonly[1], "-i", readonly[2], "-n", "1", harness.PoolName, cold), true},
			{args("--no-progress", "-i", readonly[2], "-i", readonly[3], harness.PoolName, cold), args("-i", readonly[2], "-i", readonly[3], harness.PoolName, cold), true},
		}},
		{"clean-deleted-objects", "wineryctl", args("objects", "clean-deleted"), "", false, []round{{nil, nil, true}, {nil, nil, false}}},
		{"packer", harness.Packer, args("--stop-instead-of-waiting"), "", false, []round{
			{args("--stop-instead-of-waiting", "-n", cold), args("--pool-name", cold), false},
			{args("--stop-instead-of-waiting"), nil, true},
		}},
		// Python's mapper reserves images for imported shards, which have images
		// already.
		{"rbd", harness.Mapper, args("--stop-instead-of-waiting"), "DELETE FROM shards WHERE state = 'importing'", true, []round{
			{args("--stop-instead-of-waiting", "--only-prefix", packed[0][:10]), args("--only-prefix", packed[0][:10]), true},
			{args("--stop-instead-of-waiting"), nil, true},
			{args("--stop-instead-of-waiting", "--manage-rw-images"), args("--manage-rw-images"), true},
		}},
		// Go Winery's cleaner also erases deleted objects, at any time.
		{"rw-shard-cleaner", harness.Cleaner, args("--stop-instead-of-waiting"), fmt.Sprintf(`
			UPDATE signature2shard SET state = 'present' WHERE state = 'deleted';
			UPDATE shards SET mapped_on_hosts_when_packed = '{a,b}' WHERE name = '%s';
			UPDATE shards SET mapped_on_hosts_when_packed = '{a}' WHERE name = '%s'`, packed[0], packed[1]), false, []round{
			{args("--stop-instead-of-waiting", "--min-mapped-hosts", "2"), args("--min-mapped-hosts", "2"), true},
			{args("--stop-instead-of-waiting"), nil, true},
		}},
	}
}

// Each command does to a database and its images what Python's does.
func TestCommands(t *testing.T) {
	ctx := fleettest.Within(t)
	model := newSite(ctx, t)
	all := commands(model)
	calls := 0
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			theirs, ours := model.copy(t), model.copy(t)
			for _, s := range []*site{theirs, ours} {
				s.sql(t, c.prepare)
				if c.rw {
					s.unlock(t)
				}
			}
			before := theirs.all(t)
			for _, r := range c.rounds {
				words := slices.Concat(args("--config", ours.config), c.words, r.ours)
				printed, status := program(ctx, t, ours.Options, c.program, words...)
				if status != 0 {
					t.Fatalf("%s %v: status %d, %s", c.program, words, status, printed)
				}
				python := inPython{&harness.Fleet{File: theirs.config}}.command(ctx, t, append([]string{c.name}, r.theirs...)...)
				if slices.Contains(r.ours, "json") {
					same(t, fmt.Sprint(r.ours), listed(t, printed), listedByPython(python))
				}
				after := theirs.all(t)
				same(t, fmt.Sprint(r.ours), ours.all(t), after)
				if slices.Equal(before, after) == r.changes {
					t.Errorf("Python's %s %v: has something changed? %t, want %t", c.name, r.theirs, !r.changes, r.changes)
				}
				before = after
				calls++
			}
		})
	}
	paired(t, "commands: %d of Python's in %d calls, the same outcome as Go Winery's on %d copies of a database with %d objects",
		len(all), calls, len(all), 3*treeSize)
}

// same compares lines.
func same(t *testing.T, what string, ours, theirs []string) {
	t.Helper()
	for _, line := range ours {
		if !slices.Contains(theirs, line) {
			t.Errorf("%s: only Go Winery's: %s", what, line)
		}
	}
	for _, line := range theirs {
		if !slices.Contains(ours, line) {
			t.Errorf("%s: only Python's: %s", what, line)
		}
	}
}

var (
	holder  = regexp.MustCompile(`^(\S+):$`)
	entry   = regexp.MustCompile(`^  (\S+): ([A-Z]+)(?:, N=(\d+), size=(\d+) \S+)?(?: since .+)?$`)
	release = regexp.MustCompile(`^  (\S+) stuck in ([A-Z]+) for .+ --> ([A-Z]+)$`)
	ignored = regexp.MustCompile(`^  (\S+) is in unexpected state ShardState\.([A-Z]+), ignoring$`)
)

// listedByPython gives a line for each shard that a command of Python's prints.
func listedByPython(out string) (lines []string) {
	locker := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if m := holder.FindStringSubmatch(line); m != nil {
			locker = strings.Replace(m[1], "N/A", "", 1)
		} else if m := entry.FindStringSubmatch(line); m != nil {
			lines = append(lines, fmt.Sprintf("%s %s locked by %q, %q objects, %q bytes", m[1], strings.ToLower(m[2]), locker, m[3], m[4]))
		} else if m := ignored.FindStringSubmatch(line); m != nil {
			lines = append(lines, fmt.Sprintf(`%s %s locked by %q, "" objects, "" bytes`, m[1], strings.ToLower(m[2]), locker))
		} else if m := release.FindStringSubmatch(line); m != nil {
			lines = append(lines, fmt.Sprintf("%s %s locked by %q → %s", m[1], strings.ToLower(m[2]), locker, strings.ToLower(m[3])))
		}
	}
	return lines
}

// listed is listedByPython for wineryctl's JSON.
func listed(t *testing.T, out string) (lines []string) {
	t.Helper()
	var rows []struct {
		Name, State, Locker, To string
		Table                   *struct{ Objects, Bytes json.Number }
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	for _, r := range rows {
		line := fmt.Sprintf("%s %s locked by %q", r.Name, r.State, r.Locker)
		switch {
		case r.To != "":
			line += " → " + r.To
		case r.Table != nil:
			line += fmt.Sprintf(", %q objects, %q bytes", r.Table.Objects, r.Table.Bytes)
		default:
			line += `, "" objects, "" bytes`
		}
		lines = append(lines, line)
	}
	return lines
}

func args(words ...string) []string { return words }
