// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"errors"
	"time"

	"winery/sharedbase"
)

// part is a number of objects that were refused together, and why.
type part struct {
	pieces []piece
	err    error
}

// refused reports whether err may concern a few of the objects: nothing was stored, and
// the claim holds.
func (l *lane) refused(err error) bool { return l.claim != nil && !l.broken && sharedbase.Refused(err) }

// isDamage reports whether objects were refused because the database's data are damaged,
// or its disk fails.
func isDamage(err error) bool {
	return sharedbase.Refused(err) && !errors.Is(err, sharedbase.ErrContended)
}

// split adds in parts what was refused as a whole, for a limited time. It returns what is
// not stored then, except for damaged objects: their requests are refused. Where many
// objects are contended, one transaction holds them, as a rule, and there is no point in
// looking for each. Once damageLimit transactions in succession have failed because of
// damage, split continues in another shard, or returns the error of the last one.
func (l *lane) split(ctx context.Context, whole part, limit time.Duration, damageLimit int) (left []piece, err error) {
	until := time.Now().Add(limit)
	damaged := map[sharedbase.ObjID]error{}
	parts := []part{whole} // refused, in reverse order
	for len(parts) > 0 {
		p := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		var next [][]piece
		if l.damages >= damageLimit {
			l.damages = 0
			if !l.replaceShard(ctx, p) {
				return nil, p.err
			}
			for _, p := range parts { // of which the other shard has refused none
				next = append(next, p.pieces)
			}
			parts = nil
		} else {
			next, left = l.divide(p, damaged, time.Now().After(until), left)
		}
		for _, pieces := range next {
			err := l.add(ctx, pieces, l.Base.TryAdd)
			switch {
			case l.refused(err):
				parts = append(parts, part{pieces, err})
			case err != nil:
				return nil, err
			}
		}
	}
	l.aside.tried = time.Now()
	return left, nil
}

// divide returns what is to be tried of a part that was refused, and appends to left what is
// not, because it is late or contended. An object that fails alone because of damage is
// damaged.
func (l *lane) divide(p part, damaged map[sharedbase.ObjID]error, late bool, left []piece) (next [][]piece, _ []piece) {
	if len(p.pieces) == 1 && isDamage(p.err) {
		damaged[p.pieces[0].object().ID] = p.err
		l.aside.noteRefused(p)
	}
	switch others := refuse(p.pieces, damaged); {
	case len(others) == 0:
		return nil, left
	case late, len(p.pieces) == 1:
		l.aside.noteRefused(part{others, p.err})
		return nil, append(left, others...)
	case len(others) < len(p.pieces):
		return [][]piece{others}, left
	default:
		return [][]piece{others[len(others)/2:], others[:len(others)/2]}, left
	}
}

// refuse refuses the requests that have a damaged object, and returns the pieces of the
// other objects.
func refuse(pieces []piece, damaged map[sharedbase.ObjID]error) (others []piece) {
	for _, p := range pieces {
		if err := damaged[p.object().ID]; err != nil {
			p.request.refused = err
		} else {
			others = append(others, p)
		}
	}
	return others
}
