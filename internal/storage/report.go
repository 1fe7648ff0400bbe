// SPDX-License-Identifier: GPL-3.0-or-later

package storage

import (
	"context"

	"winery/internal/config"
	"winery/pool"
)

// OpenToReport opens every pool of a configuration for a report about all of them. A
// pool that cannot be opened answers Marker, CheckAccess and Space with the reason,
// which names the pool; nothing else may be asked of it.
func OpenToReport(configured []config.Pool) Set {
	set := Set{}
	for _, c := range configured {
		p, err := open(c, settings{createImages: true})
		if err != nil {
			p = &unopened{name: c.Name, why: err}
		}
		set[c.Name] = p
	}
	return set
}

// unopened is a pool that could not be opened.
type unopened struct {
	pool.Pool // nil
	name      string
	why       error
}

func (u *unopened) Name() string                              { return u.name }
func (u *unopened) Marker(context.Context) ([]byte, error)    { return nil, u.why }
func (u *unopened) CheckAccess(context.Context, bool) error   { return u.why }
func (u *unopened) Space(context.Context) (pool.Space, error) { return pool.Space{}, u.why }
func (u *unopened) Close() error                              { return nil }
