// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"

	"winery/sharedbase"
)

// answer is what PostgreSQL has for one key.
type answer[V any] struct {
	value V
	err   error
}

// apart answers each key by itself with call, which answers all of its keys or none: while
// the server cannot read something, apart calls it again with each half of the keys, until
// those that this concerns are alone. So a damaged row or page fails no lookup of another
// object, whose lookup happened to be in the same statement. Any other error is one of all keys.
func apart[K, V any](ctx context.Context, keys []K, call func(context.Context, []K) ([]V, error)) ([]answer[V], error) {
	values, err := call(ctx, keys)
	switch {
	case err == nil:
		answers := make([]answer[V], len(values))
		for i, value := range values {
			answers[i].value = value
		}
		return answers, nil
	case !sharedbase.Unreadable(err):
		return nil, err
	case len(keys) == 1:
		return []answer[V]{{err: err}}, nil
	}
	answers, err := apart(ctx, keys[:len(keys)/2], call)
	if err != nil {
		return nil, err
	}
	others, err := apart(ctx, keys[len(keys)/2:], call)
	return append(answers, others...), err
}
