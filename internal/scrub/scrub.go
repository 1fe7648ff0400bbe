// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/time/rate"

	"winery/internal/metrics"
	"winery/internal/progress"
	"winery/internal/storage"
	"winery/sharedbase"
)

// Scrubber scrubs shards. Base and Pools must be set. Any number may work at
// once; a Scrubber itself serves one goroutine.
type Scrubber struct {
	Base  *sharedbase.SharedBase
	Pools storage.Set
	// Sample is the number of objects of a shard that are checked. 0: all.
	Sample int
	// Rate limits the bytes that are read, and those of an image that is built again; see
	// [pace.NewRate]. May be nil.
	Rate *rate.Limiter
	// NoTable reads images alone.
	NoTable bool
	// Mapped reads only images, through this host's mapping. A suspected
	// inconsistency is checked again in the store.
	Mapped bool
	// Progress is told of the bytes that were read. May be nil.
	Progress progress.Func
	// Metrics may be nil.
	Metrics *metrics.Client
}

// The tasks, in their order.
const (
	VerifyingTable progress.Task = "verifying the table of"
	VerifyingImage progress.Task = "verifying the image of"
)

// Report is what a scrub found.
type Report struct {
	Objects  int64 // that were checked
	Bytes    int64 // that were read, tables' contents included
	Findings []Finding
	// Incomplete says that the scrub stopped, since there was more to find than it
	// lists: there may be findings of other kinds.
	Incomplete bool
}

const (
	attempts = 3
	// maxFindings is how many findings a scrub of one shard lists; then it stops.
	maxFindings = 10_000
	// batchSize is how many objects are looked up in the database together.
	batchSize = 1000
)

var errTooMany = errors.New("there are more findings than a scrub lists")

// Scrub compares index, table and image of a shard. It returns an error if
// something could not be read, or ctx ended: the report has the findings until
// then. A shard whose state changes meanwhile is read again.
func (s *Scrubber) Scrub(ctx context.Context, name string) (report Report, err error) {
	for range attempts {
		sh, err := s.Base.ShardByName(ctx, name)
		if err != nil {
			return report, err
		}
		p := &pass{Scrubber: s, shard: sh}
		err = p.all(ctx)
		if errors.Is(err, errTooMany) && len(p.findings) > 0 {
			p.incomplete, err = true, nil
		}
		report.Objects += p.objects
		report.Bytes += p.bytes
		report.Findings, report.Incomplete = p.findings, p.incomplete
		if err == nil {
			s.finished(ctx, p)
		}
		if len(p.findings) == 0 && err == nil || ctx.Err() != nil {
			return report, err
		}
		now, moved := s.Base.ShardByName(ctx, name)
		if moved != nil || now.Pool == sh.Pool && stageOf(now.State) == stageOf(sh.State) {
			for _, f := range p.findings {
				s.Metrics.ScrubFound(f.Pool, string(f.Kind))
			}
			return report, errors.Join(err, moved)
		}
	}
	return report, fmt.Errorf("shard %s changed its state or pool during each of %d attempts to read it", name, attempts)
}

// finished notes that a pass has read all that it should. Only reports, and the order of
// patrols, depend on the note in the database, which a user may lack the right to make. An
// image that has all that it should was read back, whatever else is in it, or in the table:
// else every host would read it before all others, in each round.
func (s *Scrubber) finished(ctx context.Context, p *pass) {
	s.Metrics.ImageScrubbed(p.shard.Pool)
	wrong := p.incomplete || slices.ContainsFunc(p.findings, func(f Finding) bool { return f.Kind.Repairable() || f.Kind == ReadsDiffer })
	if s.Sample == 0 && !wrong && stageOf(p.shard.State).image {
		_ = s.Base.RecordVerified(ctx, p.shard.ID)
	}
}

// stage is what there is of a shard.
type stage struct{ table, image bool }

func stageOf(s sharedbase.ShardState) stage {
	return stage{table: s != sharedbase.StateReadOnly && s != sharedbase.StateImporting, image: s.ImageAvailable()}
}

// pass is one reading of a shard, as it was at its beginning.
type pass struct {
	*Scrubber
	shard          sharedbase.Shard
	objects, bytes int64
	progress       *progress.Meter // of the current task
	findings       []Finding
	incomplete     bool
	found          sharedbase.ImageRecord // what the image would be recorded as
}

func (p *pass) all(ctx context.Context) error {
	is := stageOf(p.shard.State)
	var errTable, errImage error
	if is.table && !p.Mapped && !p.NoTable {
		errTable = p.table(ctx)
	}
	if is.image {
		errImage = p.image(ctx)
	}
	return errors.Join(errTable, errImage)
}

// find notes a finding. It fails where there are enough.
func (p *pass) find(kind Kind, id sharedbase.ObjID, text string, args ...any) error {
	if len(p.findings) == maxFindings {
		return errTooMany
	}
	if len(p.findings) == maxFindings-1 {
		text, args = "%s; the scrub stopped here, there may be more findings", []any{fmt.Sprintf(text, args...)}
	}
	p.findings = append(p.findings, Finding{p.shard.Name, p.shard.Pool, kind, Object(id), fmt.Sprintf(text, args...)})
	return nil
}

// read counts bytes of the current task.
func (p *pass) read(bytes int64) {
	p.bytes += bytes
	p.Metrics.Scrubbed(p.shard.Pool, bytes)
	p.progress.Add(bytes)
}
