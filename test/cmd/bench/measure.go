// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"winery/internal/load"
)

// sample is one measurement.
type sample struct {
	rate float64 // in the unit of the row
	cpu  float64 // µs of the server's CPU for each object
	db   float64 // µs of PostgreSQL's CPU for each object
	load float64 // µs of the clients' CPU for each object
	peak float64 // MiB of memory of the server's processes
	p99  float64 // ms from a request to the first byte of its response
}

// work is one measurement of a contender: what it did, and what its process used.
type work func(ctx context.Context) (load.Result, usage, error)

// limit is what the layer below can do at most, in the unit of the row.
type limit struct {
	name    string
	measure func(ctx context.Context) (float64, error)
}

// row is a line of the report.
type row struct {
	what   string
	bytes  bool // the rate is MB/s, not objects/s
	ours   work
	python work    // nil where Python Winery cannot do it
	limits []limit // measured in each round
	extra  func() string
	server *store // whose CPU profile tells what ours takes; nil where there is none

	samples map[string][]sample // "ours", "python"
	raw     map[string][]float64
}

// measure takes a row's samples: in each round all contenders and limits, in an
// order that alternates.
func (b *bench) measure(ctx context.Context, r row) error {
	r.samples, r.raw = map[string][]sample{}, map[string][]float64{}
	steps := []func() error{func() error { return b.take(ctx, &r, "ours", r.ours) }}
	if r.python != nil {
		steps = append(steps, func() error { return b.take(ctx, &r, "python", r.python) })
	}
	for _, l := range r.limits {
		steps = append(steps, func() error {
			rate, err := l.measure(ctx)
			r.raw[l.name] = append(r.raw[l.name], rate)
			return err
		})
	}
	for range b.rounds {
		for _, step := range steps {
			if err := step(); err != nil {
				return fmt.Errorf("%s: %w", r.what, err)
			}
		}
		slices.Reverse(steps)
	}
	if err := b.profile(ctx, &r); err != nil {
		return fmt.Errorf("a profile of %s: %w", r.what, err)
	}
	return b.report.print(&r)
}

func (b *bench) take(ctx context.Context, r *row, who string, do work) error {
	before, err := b.beside()
	if err != nil {
		return err
	}
	result, used, err := do(ctx)
	if err != nil {
		return err
	}
	after, err := b.beside()
	if err != nil {
		return err
	}
	n := float64(result.Objects)
	s := sample{
		rate: result.Rate(), cpu: float64(used.cpu.Microseconds()) / n, peak: float64(used.peak) / (1 << 20),
		db: float64((after.postgres - before.postgres).Microseconds()) / n, load: float64((after.clients - before.clients).Microseconds()) / n,
	}
	if r.bytes {
		s.rate = result.Throughput()
	}
	if result.FirstByte != nil {
		s.p99 = (time.Duration(result.FirstByte.ValueAtQuantile(99)) * time.Microsecond).Seconds() * 1e3
	}
	r.samples[who] = append(r.samples[who], s)
	return nil
}

// on measures a server while clients work on it.
func on(s *store, do func(ctx context.Context) (load.Result, error)) work {
	return func(ctx context.Context) (load.Result, usage, error) {
		before, err := usageOf(s.process.PID())
		if err != nil {
			return load.Result{}, usage{}, err
		}
		if err := resetPeaks(s.process.PID()); err != nil {
			return load.Result{}, usage{}, err
		}
		result, err := do(ctx)
		after, usageErr := usageOf(s.process.PID())
		after.cpu -= before.cpu
		return result, after, errors.Join(err, usageErr)
	}
}

// median is the middle of what of returns for each sample.
func median[T any](samples []T, of func(T) float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.SortFunc(values, cmp.Compare)
	return values[len(values)/2]
}
