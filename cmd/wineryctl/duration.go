// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// units of a duration, in the order in which they must be given.
var units = []struct {
	name string
	time.Duration
}{
	{"year", 365 * 24 * time.Hour},
	{"week", 7 * 24 * time.Hour},
	{"day", 24 * time.Hour},
	{"hour", time.Hour},
	{"minute", time.Minute},
	{"second", time.Second},
}

var durationPattern = func() *regexp.Regexp {
	pattern := "^"
	for _, u := range units {
		pattern += fmt.Sprintf(`(?:(\d+)\s*%c(?:%ss?)?)?\s*`, u.name[0], u.name[1:])
	}
	return regexp.MustCompile(pattern + "$")
}()

// duration is the value of a flag: "48h", "2d 12h", "90 minutes". The value of a [cli.DurationFlag] has no days or weeks,
// which Python Winery accepts.
type duration time.Duration

// Set implements [cli.Generic].
func (d *duration) Set(text string) error {
	match := durationPattern.FindStringSubmatch(strings.TrimSpace(text))
	if match == nil || strings.Join(match[1:], "") == "" {
		return fmt.Errorf(`must be numbers of years, weeks, days, hours, minutes and seconds, as in "48h" or "2d 12h"`)
	}
	sum := time.Duration(0)
	for i, u := range units {
		if match[i+1] == "" {
			continue
		}
		n, err := strconv.ParseInt(match[i+1], 10, 64)
		if err != nil || n > int64((math.MaxInt64-sum)/u.Duration) {
			return fmt.Errorf("is too long")
		}
		sum += time.Duration(n) * u.Duration
	}
	*d = duration(sum)
	return nil
}

// String implements [cli.Generic].
func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(time.Duration(*d).String(), "0s"), "0m")
}

// staleFlag returns a new flag for each command, because a flag keeps its value.
func staleFlag() cli.Flag {
	after := duration(48 * time.Hour)
	return &cli.GenericFlag{
		Name: "duration", Aliases: []string{"d"}, Value: &after,
		Usage: "treat a shard as stale once it has been locked for `TIME`, as in 48h or \"2d 12h\"",
	}
}
