// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"github.com/urfave/cli/v2"
	"golang.org/x/time/rate"

	"winery/internal/pace"
)

// rateFlag is the name of the flag that RateFlag makes.
const rateFlag = "rate"

// RateFlag is the flag that limits what a role or a command moves; usage names `MB`.
func RateFlag(usage string) *cli.Float64Flag {
	return &cli.Float64Flag{Name: rateFlag, Usage: usage, DefaultText: "no limit"}
}

// Rate returns the limit that RateFlag sets, in bytes a second; nil for none. A slower
// one would look like a role that makes no progress.
func (e *Env) Rate() (*rate.Limiter, error) {
	mb := e.CLI.Float64(rateFlag)
	if e.CLI.IsSet(rateFlag) && mb < 1 {
		return nil, UsageError("--%s: found %v, must be 1 or more", rateFlag, mb)
	}
	return pace.NewRate(int64(mb * 1e6)), nil
}
