// SPDX-License-Identifier: GPL-3.0-or-later

package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"winery/internal/status"
	"winery/sharedbase"
)

// agreement looks for a problem of the recorded processes; well has a place for the number
// of those that run.
func (d *doctor) agreement(code status.Code, well string) func(context.Context) Result {
	return d.answered(func(context.Context, sharedbase.Server) Result {
		processes, err := d.processes()
		if err != nil {
			return databaseFailure(err)
		}
		running := slices.DeleteFunc(slices.Clone(processes), func(p sharedbase.Process) bool { return !p.Running() })
		return among(status.Setup(processes, nil, nil), code, fmt.Sprintf(well, len(running)))
	})
}

func (d *doctor) configuredPools(ctx context.Context, _ sharedbase.Server) Result {
	shards, err := ask(ctx, d.Patience, d.Base.Statistics)
	if err != nil {
		return databaseFailure(err)
	}
	return among(status.Setup(nil, shards, d.Config.Pools), status.PoolNotConfigured, "all pools that have shards are configured")
}

// among makes a result of the problem with that code, if there is one.
func among(problems []status.Problem, code status.Code, well string) Result {
	i := slices.IndexFunc(problems, func(p status.Problem) bool { return p.Code == code })
	if i < 0 {
		return ok("%s", well)
	}
	p := problems[i]
	state := Warning
	if p.Severity == status.Error {
		state = Failed
	}
	return Result{State: state, What: p.What + ": " + strings.Join(p.On, "; "), Cure: p.Cure}
}
