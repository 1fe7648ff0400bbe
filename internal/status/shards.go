// SPDX-License-Identifier: GPL-3.0-or-later

package status

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"

	"winery/sharedbase"
)

func quarantinedShards(f *facts) []Problem {
	var on, names []string
	for _, q := range f.quarantined {
		on, names = append(on, fmt.Sprintf("%s: %s", q.Shard.Name, q.Reason)), append(names, q.Shard.Name)
	}
	return several(Quarantined, Error, english.Plural(len(on), "shard is", "shards are")+" quarantined: index, table and image are not consistent", on,
		fmt.Sprintf("wineryctl verify --shard %[1]s; then wineryctl verify --repair --shard %[1]s", only(names, "NAME")))
}

func expiredLeases(f *facts) []Problem {
	var on, holders []string
	for _, s := range f.locked {
		if s.Expired() > expiredWait {
			holders = append(holders, s.Lease.Host+":"+s.Lease.Role)
			on = append(on, fmt.Sprintf("%s (%s), locked by %s, whose lease expired %s ago", s.Name, s.State, s.Lease.Holder(), Age(s.Expired())))
		}
	}
	return several(LeaseExpired, Error, english.Plural(len(on), "shard is", "shards are")+" locked by dead processes, and no role reclaims what they held", on,
		"start a writer, packer or cleaner: each reclaims such shards; or wineryctl shards release --holder "+only(holders, "HOST:ROLE"))
}

func pythonLocks(f *facts) []Problem {
	var on, names []string
	for _, s := range f.locked {
		if s.Lease == nil && s.For > lockedLong {
			names = append(names, s.Name)
			on = append(on, fmt.Sprintf("%s (%s), locked %s ago", s.Name, s.State, Age(s.For)))
		}
	}
	return several(LockedWithoutLease, Warning, english.Plural(len(on), "shard has", "shards have")+" been locked for long by processes without a lease, as those of Python Winery", on,
		"make sure that the process is dead; then wineryctl shards release --shard "+only(names, "NAME"))
}

// fullWithoutPacker judges pool by pool where a packer runs, which packs one of them
// unless it is told to pack all.
func fullWithoutPacker(f *facts) []Problem {
	wait, runs := fullWait, f.works("packer", sharedbase.StatePacking)
	packing := map[string]bool{} // pools
	if runs {
		wait = fullLong
		for _, s := range f.shards {
			packing[s.Pool] = packing[s.Pool] || s.State == sharedbase.StatePacking && s.Shards > s.Quarantined
		}
	}
	waiting, oldest := int64(0), time.Duration(0)
	var on, pools []string
	for _, s := range f.shards {
		if s.State == sharedbase.StateFull && s.Shards > s.Quarantined && s.Oldest > wait && !packing[s.Pool] {
			waiting, oldest = waiting+s.Shards-s.Quarantined, max(oldest, s.Oldest)
			on, pools = append(on, "pool "+s.Pool), append(pools, s.Pool)
		}
	}
	count, pool := english.Plural(int(waiting), "FULL shard waits", "FULL shards wait"), only(pools, "POOL")
	if runs {
		return several(FullWithoutPacker, Error, fmt.Sprintf("%s for a packer of the pool, the oldest for %s: no shard of the pool is being packed", count, Age(oldest)), on,
			fmt.Sprintf("systemctl start winery-packer@%[1]s on a host; if it runs already: journalctl -u winery-packer@%[1]s", pool))
	}
	return several(FullWithoutPacker, Error, fmt.Sprintf("no packer runs, and %s for one, the oldest for %s", count, Age(oldest)), on,
		fmt.Sprintf("systemctl start winery-packer@%s on a host", pool))
}

// packedWaits looks for the reason why tables are not dropped: the first that applies.
func packedWaits(f *facts) []Problem {
	o := f.packed
	waiting := func(n int64) string {
		return fmt.Sprintf("%s, the oldest for %s", english.Plural(int(n), "PACKED shard waits", "PACKED shards wait"), Age(o.Oldest))
	}
	switch {
	case o.Unmapped > 0 && !f.works("mapper", ""):
		return []Problem{problem(PackedUnmapped, Error, "no mapper runs, and "+waiting(o.Unmapped)+": no host has mapped the images", nil,
			"systemctl start winery-rbd-mapper on each host that reads images")}
	case o.Shards > 0 && !f.works("cleaner", sharedbase.StateCleaning):
		return []Problem{problem(PackedUncleaned, Warning, "no cleaner runs, and "+waiting(o.Shards)+": the tables use space", nil,
			"systemctl start winery-cleaner on a host")}
	case o.Oldest > packedLong:
		return []Problem{problem(PackedLong, Warning, waiting(o.Shards)+" although mapper and cleaner run: fewer hosts than --min-mapped-hosts may have mapped the images", nil,
			"compare wineryctl hosts list with --min-mapped-hosts of winery-cleaner; see the logs of winery-cleaner and winery-rbd-mapper")}
	}
	return nil
}

func erasuresOverdue(f *facts) []Problem {
	var on []string
	for _, u := range f.unerased {
		if u.Oldest > erasureLong {
			on = append(on, fmt.Sprintf("pool %s: %s in %s, the oldest for %s", u.Pool,
				english.Plural(int(u.Objects), "object", ""), english.Plural(int(u.Shards), "image", ""), Age(u.Oldest)))
		}
	}
	return several(ErasureOverdue, Warning, "deleted objects have not been erased from images for more than a day", on,
		"see the log of winery-cleaner; or wineryctl objects clean-deleted")
}
