// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var sealCommand = &cli.Command{
	Name:        "seal",
	Usage:       "mark standby shards as full, so that packers pack them before they are filled",
	ArgsUsage:   "[NAME…]",
	Description: "Use this command, for example, to retire a pool. A shard without objects stays standby.",
	Flags:       []cli.Flag{&cli.StringFlag{Name: "pool-name", Aliases: []string{"n"}, Usage: "seal all standby shards of `POOL`"}},
	Action:      shardsSeal,
}

func shardsSeal(c *cli.Context) error {
	names, pool := c.Args().Slice(), c.String("pool-name")
	if (len(names) == 0) == (pool == "") {
		return daemon.UsageError("seal takes either the NAMEs of shards or --pool-name POOL")
	}
	cfg, base, err := changing(c)
	if err != nil {
		return err
	}
	defer base.Close()
	if pool != "" {
		if _, ok := cfg.Pool(pool); !ok {
			return notConfigured(cfg, "--pool-name", pool)
		}
		shards, err := base.ListShards(c.Context, sharedbase.ShardFilter{
			States: []sharedbase.ShardState{sharedbase.StateStandby}, Pool: pool,
		})
		if err != nil {
			return err
		}
		for _, s := range shards {
			names = append(names, s.Name)
		}
		if len(shards) == 0 {
			_, err := fmt.Fprintf(c.App.Writer, "pool %s has no standby shard\n", pool)
			return err
		}
	}
	var errs []error
	for _, name := range names {
		outcome, err := seal(c.Context, base, name)
		if err == nil {
			_, err = fmt.Fprintf(c.App.Writer, "%s: %s\n", name, outcome)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// seal marks a shard as full, unless it is empty. outcome describes the result.
func seal(ctx context.Context, base *sharedbase.SharedBase, name string) (outcome string, err error) {
	worked, err := base.WithOneShard(ctx, sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.ClaimFilter{Name: name},
		func(ctx context.Context, claim *sharedbase.Claim) error {
			objects, _, err := base.TableSize(ctx, name)
			if err != nil {
				return err
			}
			if objects == 0 {
				outcome = "empty, stays standby"
				return nil
			}
			outcome = "full"
			return claim.SetState(ctx, sharedbase.StateFull)
		})
	if err == nil && !worked {
		err = fmt.Errorf("shard %s cannot be sealed: it is not standby, is held by a writer, or is quarantined (see `wineryctl shards list`)", name)
	}
	return outcome, err
}
