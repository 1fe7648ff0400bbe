// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// forgetBatch is how many shards ForgetHost changes in a transaction.
const forgetBatch = 1000

// Host is a host as the database knows it: from the shards whose images it mapped,
// from heartbeats of processes, and from leases.
type Host struct {
	Name   string
	Mapped int64    // shards that count this host among those that mapped the image
	Roles  []string // of its processes and leases, also of dead ones, in ascending order
	// LastSeen is the time of the last heartbeat, zero where all processes ended as asked,
	// or sent none for a day: processes of Python Winery send none. Unseen is the time since, by the database's clock.
	LastSeen time.Time
	Unseen   time.Duration
	Leases   int64 // that have not expired
}

// Running reports whether a process of the host has sent a heartbeat within SeenWithin.
func (h Host) Running() bool { return !h.LastSeen.IsZero() && h.Unseen < SeenWithin }

// Hosts lists all hosts by name. It reads a row for each shard once.
func (b *SharedBase) Hosts(ctx context.Context) ([]Host, error) {
	return list(ctx, b, b.conns.lists, "listing the hosts", scanHost, `/* winery: Hosts */
		WITH leased AS (
			SELECT host, role FROM winery_lease l WHERE expires > clock_timestamp()
				AND EXISTS (SELECT FROM shards s WHERE s.id = l.shard AND s.locker = l.locker)
			UNION ALL SELECT host, role FROM winery_image_lease WHERE expires > clock_timestamp()),
		known AS (
			SELECT host, count(*) AS mapped, NULL AS role, NULL::timestamptz AS seen, 0 AS leases
				FROM shards, unnest(mapped_on_hosts_when_packed) host GROUP BY host
			UNION ALL SELECT host, 0, role, last_seen, 0 FROM winery_process
			UNION ALL SELECT host, 0, role, NULL, 1 FROM leased)
		SELECT host, sum(mapped)::bigint, coalesce(array_agg(DISTINCT role ORDER BY role) FILTER (WHERE role IS NOT NULL), '{}'),
			max(seen), coalesce(greatest(interval '0', clock_timestamp() - max(seen)), '0'), sum(leases)
		FROM known GROUP BY host ORDER BY host`)
}

func scanHost(row pgx.CollectableRow) (h Host, err error) {
	var seen *time.Time
	err = row.Scan(&h.Name, &h.Mapped, &h.Roles, &seen, &h.Unseen, &h.Leases)
	if seen != nil {
		h.LastSeen = *seen
	}
	return h, err
}

// HostInUseError is returned for a host that is not forgotten, because one of its
// processes runs or has a lease.
type HostInUseError struct{ Host, By string }

func (e *HostInUseError) Error() string { return fmt.Sprintf("host %s is in use: %s", e.Host, e.By) }

// Forgotten says what ForgetHost changed.
type Forgotten struct {
	Shards  int64 // that no longer count the host among those that mapped their image
	Lacking int64 // of those with a table, the ones that fewer than the wanted number of hosts have mapped now
}

// ForgetHost removes a host from the hosts that mapped the images of shards, and the
// records of its dead processes. Lacking counts shards with fewer than minHosts hosts.
// Each batch of shards is a transaction that proves that no process of the host runs
// or has a lease: *HostInUseError, unless force is set. After an error, what was
// changed stays changed, and a repetition continues. A host that runs after all records
// its images again.
func (b *SharedBase) ForgetHost(ctx context.Context, host string, minHosts int, force bool) (f Forgotten, err error) {
	for after := int64(0); ; {
		var shards, lacking int64
		last, by := after, ""
		err := b.inTx(ctx, "forgetting host "+host, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, `/* winery: ForgetHost */
				WITH holder AS MATERIALIZED (SELECT coalesce(
					(SELECT 'a heartbeat came ' || greatest(0, extract(epoch FROM clock_timestamp() - last_seen)::int) || ' s ago from ' || role || ' (pid ' || pid || ')'
						FROM winery_process WHERE host = @host AND last_seen > clock_timestamp() - @seen::interval LIMIT 1),
					(SELECT role || ' (pid ' || pid || ') has a lease until ' || date_trunc('second', expires) FROM (
						SELECT host, role, pid, expires FROM winery_lease UNION ALL SELECT host, role, pid, expires FROM winery_image_lease) l
						WHERE host = @host AND expires > clock_timestamp() LIMIT 1), '') AS by),
				batch AS (SELECT id FROM shards WHERE id > @after AND @host = ANY (mapped_on_hosts_when_packed)
					AND (@force OR (SELECT by FROM holder) = '') ORDER BY id LIMIT @batch FOR NO KEY UPDATE),
				changed AS (UPDATE shards s SET mapped_on_hosts_when_packed = array_remove(mapped_on_hosts_when_packed, @host)
					FROM batch WHERE s.id = batch.id RETURNING s.id, s.state, cardinality(s.mapped_on_hosts_when_packed) AS hosts),
				removed AS (DELETE FROM winery_process WHERE host = @host AND last_seen <= clock_timestamp() - @seen::interval)
				SELECT (SELECT by FROM holder), count(*), count(*) FILTER (WHERE state IN ('packed', 'cleaning') AND hosts < @hosts),
					coalesce(max(id), @after) FROM changed`,
				pgx.NamedArgs{"host": host, "after": after, "hosts": minHosts, "force": force, "batch": forgetBatch, "seen": SeenWithin}).
				Scan(&by, &shards, &lacking, &last)
		})
		switch {
		case err != nil:
			return f, err
		case by != "" && !force:
			return f, &HostInUseError{Host: host, By: by}
		}
		f.Shards, f.Lacking, after = f.Shards+shards, f.Lacking+lacking, last
		if shards < forgetBatch {
			return f, nil
		}
	}
}
