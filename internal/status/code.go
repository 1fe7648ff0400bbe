// SPDX-License-Identifier: GPL-3.0-or-later

package status

// Code names a kind of problem.
type Code string

// The codes. docs/operations.md has a row for each.
const (
	DatabaseUnreadable Code = "U001"
	Quarantined        Code = "W001"
	LeaseExpired       Code = "W002"
	LockedWithoutLease Code = "W003"
	FullWithoutPacker  Code = "W004"
	PackedUnmapped     Code = "W005"
	PackedUncleaned    Code = "W006"
	HostGone           Code = "W007"
	NoWriter           Code = "W008"
	ProcessGone        Code = "W009"
	ProcessFailing     Code = "W010"
	VersionsDiffer     Code = "W011"
	LeasesDiffer       Code = "W012"
	PoolNotConfigured  Code = "W013"
	PoolUnusable       Code = "W014"
	TablesMissing      Code = "W015"
	ErasureOverdue     Code = "W016"
	PackedLong         Code = "W017"
	HostNameShared     Code = "W018"
)
