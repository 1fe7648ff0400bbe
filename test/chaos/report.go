// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"winery/sharedbase"
	"winery/test/harness"
)

// Report is what came of a run.
type Report struct {
	rows     [][2]string
	findings []finding
}

// The findings that a run must not have, in the order of the report.
var verdicts = []verdict{lost, wrong, undead, unreadable, unerased, stuck, stray, quarantined}

// Findings is how many there are: none in a run that went well.
func (r *Report) Findings() int {
	if r == nil {
		return 0
	}
	return len(r.findings)
}

func (r *Report) add(what string, format string, args ...any) {
	r.rows = append(r.rows, [2]string{what, fmt.Sprintf(format, args...)})
}

// Print writes the report as a table that Markdown understands, and the first
// findings of each kind.
func (r *Report) Print(to io.Writer) error {
	var b strings.Builder
	b.WriteString("| what | figure |\n|---|---|\n")
	for _, row := range r.rows {
		fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
	}
	const maxShown = 10
	shown := map[verdict]int{}
	for _, f := range r.findings {
		if shown[f.what]++; shown[f.what] <= maxShown {
			fmt.Fprintf(&b, "%s: %s\n", f.what, f.details)
		}
	}
	_, err := io.WriteString(to, b.String())
	return err
}

// report gathers what the run, the daemons' logs and the database tell.
func (r *run) report(ctx context.Context) (*Report, error) {
	out := &Report{findings: slices.Concat(r.journal.findings, r.findings)}
	out.add("pool, lease, seed", "%s, %s, %d", r.Pool, r.Lease, r.Seed)
	out.add("duration", "%s", r.Duration)
	r.addFaults(out)
	t := r.journal.totals()
	out.add("objects acknowledged", "%d, %d bytes", t.Objects, t.Bytes)
	out.add("deletions acknowledged, objects added again", "%d, %d", t.Deletes, t.ReAdds)
	out.add("changes of objects without an answer", "%d", t.Doubtful)
	var seen []string
	for _, what := range []string{"503, try again", "no answer", "others"} {
		seen = append(seen, fmt.Sprintf("%s: %d", what, r.load.errors[what]))
	}
	out.add("errors seen by clients", "%s", strings.Join(seen, "; "))
	for _, k := range []kind{kill, suspend, cutOff, holdUp} {
		out.add("holder "+string(k)+": its shard free again", "%s", spread(r.recovery.claims[k]))
	}
	out.add("writer killed: it acknowledges adds again", "%s", spread(r.recovery.adds))
	if err := r.addLogs(out); err != nil {
		return nil, err
	}
	shards, err := r.fleet.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StateReadOnly}})
	if err != nil {
		return nil, err
	}
	out.add("shards read-only in the end", "%d", len(shards))
	for _, v := range verdicts {
		n := 0
		for _, f := range out.findings {
			if f.what == v {
				n++
			}
		}
		out.add("**"+string(v)+"**", "**%d**", n)
	}
	return out, nil
}

// addFaults reports what happened to the processes and the services.
func (r *run) addFaults(out *Report) {
	for _, k := range []kind{kill, suspend, cutOff, holdUp} {
		var each []string
		for _, role := range []string{harness.Writer, harness.Packer, harness.Mapper, harness.Cleaner} {
			each = append(each, fmt.Sprintf("%d %s", r.counts[k][role], role))
		}
		out.add("processes "+string(k), "%s", strings.Join(each, ", "))
	}
	for _, k := range slices.Concat(databaseFaults, rbdFaults, directoryFaults, s3Faults) {
		if n := r.counts[k][""]; n > 0 {
			out.add(string(k), "%d", n)
		}
	}
}

// addLogs reports what the daemons have logged.
func (r *run) addLogs(out *Report) error {
	var packed, reclaimed, exits int
	for _, p := range r.processes {
		for msg, count := range map[string]*int{"shard packed": &packed, "shard reclaimed": &reclaimed} {
			records, err := p.running().Records(msg)
			if err != nil {
				return err
			}
			*count += len(records)
		}
		exits += p.exited()
	}
	out.add("processes that ended by themselves, and were started again", "%d", exits)
	out.add("shards taken back from holders whose lease ran out", "%d", reclaimed)
	out.add("shards packed", "%d", packed)
	return nil
}

// keepLogs saves what helps to find out what went wrong, before the services
// go: their logs, and the database without the shards' tables.
func (r *run) keepLogs() error {
	if r.fleet == nil {
		return nil // the services' scripts have told what went wrong
	}
	for _, pattern := range []string{filepath.Join(r.services.Postgres, "log"), filepath.Join(r.services.Ceph, "run", "*.log")} {
		logs, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, log := range logs {
			if err := os.Link(log, filepath.Join(r.dir, filepath.Base(filepath.Dir(log))+"-"+filepath.Base(log))); err != nil {
				return err
			}
		}
	}
	dump := exec.Command("pg_dump", "--dbname", r.services.DSN, "--exclude-table-data", "shard_*", "--file", filepath.Join(r.dir, "database.sql"))
	if out, err := dump.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_dump: %w: %s", err, out)
	}
	return nil
}
