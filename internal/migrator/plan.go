// SPDX-License-Identifier: GPL-3.0-or-later

package migrator

import (
	"context"
	"errors"
	"fmt"
)

// Plan is what a migration of an image would take.
type Plan struct {
	Objects int64 // those that are erased by now included
	Bytes   int64 // of their contents
	Needs   int64 // in To, at most
}

// Plan returns what Migrate would do with an image, and changes nothing: it reads the
// image's header and hash function. Errors are those of Migrate, but for what only Migrate
// finds: damage of other parts, another process that changes the image, and an image in To
// that may not be replaced.
func (m *Migrator) Plan(ctx context.Context, name string) (p Plan, err error) {
	s, known, err := m.movable(ctx, name)
	if err == nil && known {
		err = m.Base.CheckQuarantine(ctx, s)
	}
	if err != nil {
		return p, err
	}
	img, err := m.From.Open(ctx, name)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	r, err := m.From.Format().Open(img, img.Size(), name)
	if err == nil {
		err = m.checkRecord(ctx, name, r)
	}
	if err != nil {
		return p, fmt.Errorf("pool %s: %w", m.From.Name(), err)
	}
	info := r.Info()
	p = Plan{Objects: info.Objects, Bytes: info.ContentSize, Needs: info.Size}
	if m.encodes() {
		p.Needs = m.To.Format().SizeBound(info.Objects, info.ContentSize)
	}
	return p, nil
}
