// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"winery/internal/load"
)

// percentiles of the latencies that are printed.
var percentiles = []float64{50, 90, 99, 99.9, 100}

// benchRow is the printed result of clients of one kind. Scripts read its JSON. Durations are seconds.
type benchRow struct {
	Operation        string             `json:"operation"`
	Objects          int64              `json:"objects"`
	Bytes            int64              `json:"bytes"`
	Seconds          float64            `json:"seconds"`
	ObjectsPerSecond float64            `json:"objects_per_second"`
	BytesPerSecond   float64            `json:"bytes_per_second"`
	Latency          map[string]float64 `json:"latency_seconds"`    // by percentile
	FirstByte        map[string]float64 `json:"first_byte_seconds"` // by percentile
	Histogram        []benchBar         `json:"histogram"`
}

// benchBar is the number of requests that took longer than the bar before, and at most so long.
type benchBar struct {
	AtMost   float64 `json:"at_most_seconds"`
	Requests int64   `json:"requests"`
}

// operations is the order in which the results are printed.
var operations = []string{"write", "read"}

func benchJSON(results map[string]load.Result) []benchRow {
	rows := []benchRow{}
	for _, operation := range operations {
		r, ok := results[operation]
		if !ok {
			continue
		}
		row := benchRow{
			Operation: operation, Objects: r.Objects, Bytes: r.Bytes, Seconds: r.Took.Seconds(),
			ObjectsPerSecond: r.Rate(), BytesPerSecond: r.Throughput() * 1e6,
			Latency: map[string]float64{}, FirstByte: map[string]float64{}, Histogram: bars(r),
		}
		for _, p := range percentiles {
			name := fmt.Sprintf("p%g", p)
			row.Latency[name] = wait(r.Latency.ValueAtQuantile(p)).Seconds()
			row.FirstByte[name] = wait(r.FirstByte.ValueAtQuantile(p)).Seconds()
		}
		rows = append(rows, row)
	}
	return rows
}

// wait is a value of a histogram.
func wait(microseconds int64) time.Duration { return time.Duration(microseconds) * time.Microsecond }

// bars are the latencies in steps of a factor of two.
func bars(r load.Result) []benchBar {
	bars := []benchBar{}
	var step int64 = 1 // in microseconds
	for _, b := range r.Latency.Distribution() {
		if b.Count == 0 {
			continue
		}
		for step < b.From {
			step *= 2
		}
		if at := wait(step).Seconds(); len(bars) == 0 || bars[len(bars)-1].AtMost != at {
			bars = append(bars, benchBar{AtMost: at})
		}
		bars[len(bars)-1].Requests += b.Count
	}
	return bars
}

func printBench(c *cli.Context, results map[string]load.Result) error {
	rows := benchJSON(results)
	err := printTable(c.App.Writer, "OPERATION\tOBJECTS/S\tMB/S\tOBJECTS\tP50\tP90\tP99\tP99.9\tMAX\tP99 OF FIRST BYTE", func(row func(string, ...any)) {
		for _, r := range rows {
			row("%s\t%.0f\t%.1f\t%d\t%s\t%s\t%s\t%s\t%s\t%s", r.Operation, r.ObjectsPerSecond, r.BytesPerSecond/1e6, r.Objects,
				ms(r.Latency["p50"]), ms(r.Latency["p90"]), ms(r.Latency["p99"]), ms(r.Latency["p99.9"]), ms(r.Latency["p100"]), ms(r.FirstByte["p99"]))
		}
	})
	for _, r := range rows {
		if err != nil {
			return err
		}
		err = printBars(c, r)
	}
	return err
}

func printBars(c *cli.Context, r benchRow) error {
	var all, highest int64
	for _, b := range r.Histogram {
		all, highest = all+b.Requests, max(highest, b.Requests)
	}
	if _, err := fmt.Fprintf(c.App.Writer, "\nlatency of %s\n", r.Operation); err != nil {
		return err
	}
	return printTable(c.App.Writer, "UP TO\tREQUESTS\tSHARE\t", func(row func(string, ...any)) {
		for _, b := range r.Histogram {
			row("%s\t%d\t%.1f %%\t%s", ms(b.AtMost), b.Requests, 100*float64(b.Requests)/float64(all), strings.Repeat("#", int(40*b.Requests/highest)))
		}
	})
}

// ms shows a duration in milliseconds.
func ms(seconds float64) string { return fmt.Sprintf("%.1f ms", seconds*1e3) }
