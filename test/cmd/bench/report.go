// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// report prints a table in Markdown, a row as soon as it is measured.
type report struct {
	out   io.Writer
	begun bool
}

const heading = `| what | Go Winery | CPU µs: server, PostgreSQL, clients | peak MiB | p99 ms | Python Winery | CPU µs: server, PostgreSQL, clients | peak MiB | rate, CPU against Python | limits in the same run |
|---|---|---|---|---|---|---|---|---|---|
`

func (r *report) print(of *row) error {
	if !r.begun {
		r.begun = true
		if _, err := io.WriteString(r.out, heading); err != nil {
			return err
		}
	}
	ours, python := summary(of.samples["ours"]), summary(of.samples["python"])
	unit := " obj/s"
	if of.bytes {
		unit = " MB/s"
	}
	cells := []string{of.what, number(ours.rate) + unit, ours.shares(), number(ours.peak), wait(ours.p99)}
	if of.python != nil {
		cells = append(cells, number(python.rate)+unit, python.shares(), number(python.peak),
			fmt.Sprintf("%.1f ×, %s", ours.rate/python.rate, share(ours.cpu, python.cpu)))
	} else {
		cells = append(cells, "–", "–", "–", "–")
	}
	var limits []string
	for _, name := range slices.Sorted(maps.Keys(of.raw)) {
		rawRate := median(of.raw[name], func(v float64) float64 { return v })
		limits = append(limits, fmt.Sprintf("%s: %s%s, reached %.0f %%", name, number(rawRate), unit, 100*ours.rate/rawRate))
	}
	if of.extra != nil {
		limits = append(limits, of.extra())
	}
	_, err := fmt.Fprintf(r.out, "| %s |\n", strings.Join(append(cells, strings.Join(limits, "; ")), " | "))
	return err
}

// summary has the median of each figure.
func summary(all []sample) sample {
	return sample{
		rate: median(all, func(s sample) float64 { return s.rate }),
		cpu:  median(all, func(s sample) float64 { return s.cpu }),
		db:   median(all, func(s sample) float64 { return s.db }),
		load: median(all, func(s sample) float64 { return s.load }),
		peak: median(all, func(s sample) float64 { return s.peak }),
		p99:  median(all, func(s sample) float64 { return s.p99 }),
	}
}

// shares shows what each side took of the processors for an object.
func (s sample) shares() string { return fmt.Sprintf("%.0f, %.0f, %.0f", s.cpu, s.db, s.load) }

// share shows how small a part one figure is of another, if it is large enough to be measured.
func share(of, whole float64) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("1/%.1f", whole/of)
}

// wait shows milliseconds, of which there are none where no client waits.
func wait(ms float64) string {
	if ms == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", ms)
}

// number shows a figure with about three digits.
func number(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
