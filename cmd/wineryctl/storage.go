// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/internal/storage"
	"winery/pool"
	"winery/sharedbase"
)

// hopeless says that what failed for one image will fail for the next.
func hopeless(err error) bool {
	for _, cause := range []error{
		context.Canceled, sharedbase.ErrUnavailable, sharedbase.ErrFull, pool.ErrFull, pool.ErrFenced,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// openStorage opens the database and all pools. The caller closes them.
func openStorage(c *cli.Context, open opener) (*config.Config, *sharedbase.SharedBase, storage.Set, error) {
	cfg, base, err := open(c)
	if err != nil {
		return nil, nil, nil, err
	}
	set, err := storage.Open(cfg.Pools, true)
	if err != nil {
		base.Close()
		return nil, nil, nil, err
	}
	return cfg, base, set.Checked(base), nil
}

// chosenPools are those that --pool-name names, else all, in the configuration's order.
func chosenPools(c *cli.Context, cfg *config.Config, set storage.Set) ([]pool.Pool, error) {
	names := c.StringSlice("pool-name")
	if len(names) == 0 {
		for _, p := range cfg.Pools {
			names = append(names, p.Name)
		}
	}
	chosen := make([]pool.Pool, len(names))
	for i, name := range names {
		var err error
		if chosen[i], err = chosenPool(cfg, set, "--pool-name", name); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

func chosenPool(cfg *config.Config, set storage.Set, what, name string) (pool.Pool, error) {
	if p := set[name]; p != nil {
		return p, nil
	}
	return nil, notConfigured(cfg, what, name)
}

func notConfigured(cfg *config.Config, what, name string) error {
	names := make([]string, len(cfg.Pools))
	for i, p := range cfg.Pools {
		names[i] = p.Name
	}
	return daemon.UsageError("%s: found %q, must be a pool of the configuration: %v", what, name, names)
}
