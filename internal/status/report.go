// SPDX-License-Identifier: GPL-3.0-or-later

package status

import (
	"time"

	"github.com/google/uuid"

	"winery/internal/config"
	"winery/internal/storage"
	"winery/sharedbase"
)

// Verdict is what a report says in one word.
type Verdict string

// The verdicts.
const (
	Well     Verdict = "well"
	Problems Verdict = "problems"
	Unknown  Verdict = "unknown" // a part of the database could not be read
)

// Report is the state of a fleet. Scripts read its JSON: docs/json.md.
type Report struct {
	At             time.Time          `json:"at"`
	Verdict        Verdict            `json:"verdict"`
	Problems       []Problem          `json:"problems"` // most severe first
	Database       Database           `json:"database"`
	Shards         []ShardCount       `json:"shards"`           // by pool and state
	FullQueueBytes int64              `json:"full_queue_bytes"` // size of the tables that wait for a packer
	Quarantined    []QuarantinedShard `json:"quarantined"`
	Processes      []Process          `json:"processes"`
	Hosts          []Host             `json:"hosts"`
	Pools          []Pool             `json:"pools"`
}

// Severity says how urgent a problem is.
type Severity string

// The severities, most severe first.
const (
	Cannot  Severity = "unknown" // to tell whether there are problems: a part of the database could not be read
	Error   Severity = "error"   // work has stopped, or objects are damaged
	Warning Severity = "warning" // work continues, and will stop or be less safe
)

// Problem is something that an operator should act on.
type Problem struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	On       []string `json:"on"`    // the first of the shards, processes, hosts or pools concerned
	Count    int64    `json:"count"` // of all that are concerned
	Cure     string   `json:"cure"`
}

// Database is how the database answered.
type Database struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"` // why it, or a part of it, could not be read
}

// ShardCount counts the shards of a pool in a state.
type ShardCount struct {
	Pool          string                `json:"pool"`
	State         sharedbase.ShardState `json:"state"`
	Shards        int64                 `json:"shards"`
	OldestSeconds int64                 `json:"oldest_seconds"` // for how long one that is not quarantined has been in the state, at most; tries that fail do not count
	Quarantined   int64                 `json:"quarantined"`    // of the shards
}

// QuarantinedShard is a shard that no role works on until an operator has acted.
type QuarantinedShard struct {
	Name   string    `json:"name"`
	Pool   string    `json:"pool"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Process is a process of a role that was seen within the last day.
type Process struct {
	Role          string    `json:"role"`
	Host          string    `json:"host"`
	PID           int       `json:"pid"`
	Version       string    `json:"version"`
	LeaseSeconds  int64     `json:"lease_seconds"` // winery.lease of its configuration
	Started       time.Time `json:"started"`
	LastSeen      time.Time `json:"last_seen"`
	UnseenSeconds int64     `json:"unseen_seconds"` // since LastSeen, by the database's clock
	Running       bool      `json:"running"`        // seen within the last minute
	Failing       bool      `json:"failing"`        // its last attempt to work failed, or its current step makes no progress
	Status        string    `json:"status"`         // what it does, or why it failed
}

// Host is a host that has mapped images, or from which a process was seen within the
// last day.
type Host struct {
	Name    string `json:"name"`
	Running bool   `json:"running"` // a process was seen within the last minute
	Mapped  int64  `json:"mapped"`  // shards that count the host for --min-mapped-hosts
}

// Pool is a configured pool, as this host reaches it.
type Pool struct {
	Name  string                `json:"name"`
	Type  config.PoolType       `json:"type"`
	State storage.IdentityState `json:"state"` // Unavailable if the store does not answer, NotCompared if the database does not
	UUID  *uuid.UUID            `json:"uuid"`  // of the marker; null without a marker
	Error string                `json:"error,omitempty"`
}
