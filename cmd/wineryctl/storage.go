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

// hopeless returns whether the cause of an error will make the next image fail, too.
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

// session is the journal, the database and the pools of a command that prints a result for each image, shard or file.
type session struct {
	journal *journal
	config  *config.Config
	base    *sharedbase.SharedBase
	pools   storage.Set
}

// openSession opens a session, which the caller closes.
func openSession(c *cli.Context, open opener) (*session, error) {
	cfg, base, set, err := openStorage(c, open)
	return &session{newJournal(c), cfg, base, set}, err
}

func (s *session) close() error {
	defer s.base.Close()
	return s.pools.Close()
}

// chosenPools returns the pools that --pool-name names, or else all pools in the order of the configuration.
func (s *session) chosenPools(c *cli.Context) ([]pool.Pool, error) {
	names := c.StringSlice("pool-name")
	if len(names) == 0 {
		for _, p := range s.config.Pools {
			names = append(names, p.Name)
		}
	}
	chosen := make([]pool.Pool, len(names))
	for i, name := range names {
		var err error
		if chosen[i], err = s.chosenPool("--pool-name", name); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// chosenPool returns the pool of that name, which the argument or flag what gives.
func (s *session) chosenPool(what, name string) (pool.Pool, error) {
	if p := s.pools[name]; p != nil {
		return p, nil
	}
	return nil, notConfigured(s.config, what, name)
}

func notConfigured(cfg *config.Config, what, name string) error {
	names := make([]string, len(cfg.Pools))
	for i, p := range cfg.Pools {
		names[i] = p.Name
	}
	return daemon.UsageError("%s: found %q, must be a pool of the configuration: %v", what, name, names)
}
