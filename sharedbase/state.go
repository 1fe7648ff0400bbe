// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import "slices"

// ShardState is the state of a shard, as the database spells it.
type ShardState string

// The states, in the order of a shard's life. Each comment names the role that
// moves a shard to the next state; transitions has the same as code.
const (
	// StateStandby: a table without a writer. A writer locks it: writing.
	StateStandby ShardState = "standby"
	// StateWriting: locked by one writer, which releases it when idle or
	// stopping (standby) or has filled it (full).
	StateWriting ShardState = "writing"
	// StateFull: a table that is full. A packer locks it: packing.
	StateFull ShardState = "full"
	// StatePacking: locked by a packer, which completes the image (packed) or
	// fails (full).
	StatePacking ShardState = "packing"
	// StatePacked: the image is complete, the table still there. A cleaner
	// locks it once enough hosts have mapped the image: cleaning.
	StatePacked ShardState = "packed"
	// StateCleaning: locked by a cleaner, which drops the table (readonly) or
	// fails (packed).
	StateCleaning ShardState = "cleaning"
	// StateReadOnly: only the image is left. This is the final state.
	StateReadOnly ShardState = "readonly"
	// StateImporting: locked while the objects of an image that exists already
	// are put into the index. The importer ends it: readonly.
	StateImporting ShardState = "importing"
)

// stateNone is the state before a shard's row exists.
const stateNone ShardState = ""

// transitions has all transitions of shards that exist, from state to state. Any
// other is refused without a query.
var transitions = map[ShardState][]ShardState{
	StateStandby:   {StateWriting},
	StateWriting:   {StateFull, StateStandby},
	StateFull:      {StatePacking},
	StatePacking:   {StatePacked, StateFull},
	StatePacked:    {StateCleaning},
	StateCleaning:  {StateReadOnly, StatePacked},
	StateImporting: {StateReadOnly},
}

// origins has the state to which a locked shard is released. An import has none:
// its row is removed instead.
var origins = map[ShardState]ShardState{
	StateWriting:  StateStandby,
	StatePacking:  StateFull,
	StateCleaning: StatePacked,
}

// Origin is the state to which a shard in this locked state is released; false if
// it cannot be released.
func (s ShardState) Origin() (ShardState, bool) {
	origin, ok := origins[s]
	return origin, ok
}

// Locked says whether in this state one process holds the shard, with its locker
// in the shard's row.
func (s ShardState) Locked() bool {
	return s == StateWriting || s == StatePacking || s == StateCleaning || s == StateImporting
}

// ImageAvailable says that in this state the shard's image is complete, so
// that hosts may map it and readers use it.
func (s ShardState) ImageAvailable() bool {
	return s == StatePacked || s == StateCleaning || s == StateReadOnly
}

func (s ShardState) canBecome(to ShardState) bool {
	return slices.Contains(transitions[s], to)
}
