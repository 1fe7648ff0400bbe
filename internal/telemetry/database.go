// SPDX-License-Identifier: GPL-3.0-or-later

package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"winery/sharedbase"
)

// database collects what the database says of the fleet.
type database struct {
	base     atomic.Pointer[sharedbase.SharedBase] // nil: not opened yet
	ping     cached[time.Duration]
	stats    cached[[]sharedbase.ShardStatistics]
	unerased cached[[]sharedbase.Unerased]
}

func newDatabase(log *slog.Logger) *database {
	d := &database{}
	failed := func(err error) { log.Warn("cannot read the statistics of the shards", "err", err) }
	d.ping = cached[time.Duration]{kept: time.Second, fetch: func(ctx context.Context) (time.Duration, error) {
		return d.base.Load().Ping(ctx)
	}}
	d.stats = cached[[]sharedbase.ShardStatistics]{kept: 15 * time.Second, stale: staleLimit, failed: failed, fetch: func(ctx context.Context) ([]sharedbase.ShardStatistics, error) {
		return d.base.Load().Statistics(ctx)
	}}
	d.unerased = cached[[]sharedbase.Unerased]{kept: time.Minute, stale: staleLimit, failed: failed, fetch: func(ctx context.Context) ([]sharedbase.Unerased, error) {
		return d.base.Load().Unerased(ctx)
	}}
	return d
}

// check returns nil if the database answers.
func (d *database) check(ctx context.Context) error {
	_, err := d.clockAhead(ctx)
	return err
}

// clockAhead returns how far the database's clock is ahead, if the database answers.
func (d *database) clockAhead(ctx context.Context) (time.Duration, error) {
	if d.base.Load() == nil {
		return 0, errNotOpened
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return d.ping.get(ctx)
}

var (
	databaseUp = prometheus.NewDesc("winery_database_up", "1 if the database answers this process, else 0.", nil, nil)
	clockAhead = prometheus.NewDesc("winery_database_clock_ahead_seconds",
		"How far the clock of the database is ahead of this host's; negative: behind.", nil, nil)
	statisticsUp = prometheus.NewDesc("winery_statistics_up", "1 if this process could read the statistics of the shards, else 0.", nil, nil)
	shards       = prometheus.NewDesc("winery_shards", "Shards of the whole fleet.", []string{"pool_name", "state"}, nil)
	oldest       = prometheus.NewDesc("winery_shards_oldest_age_seconds",
		"For how long the oldest shard of a state has been in it, of those that are not quarantined; tries that failed do not count.", []string{"pool_name", "state"}, nil)
	quarantined = prometheus.NewDesc("winery_shards_quarantined",
		"Shards of the whole fleet that are quarantined.", []string{"pool_name", "state"}, nil)
	neverVerified = prometheus.NewDesc("winery_images_never_verified",
		"Images that were never read back as a whole.", []string{"pool_name"}, nil)
	oldestVerified = prometheus.NewDesc("winery_images_oldest_verification_age_seconds",
		"Time since the last complete verification, of the image for which it is longest.", []string{"pool_name"}, nil)
	queue = prometheus.NewDesc("winery_full_queue_bytes",
		"Size in the database of the tables that wait for a packer.", []string{"pool_name"}, nil)
	unerased = prometheus.NewDesc("winery_unerased_objects",
		"Deleted objects that images may still have; 10,000 are counted at most.", []string{"pool_name"}, nil)
	oldestUnerased = prometheus.NewDesc("winery_unerased_objects_oldest_age_seconds",
		"For how long the oldest of the deleted objects could have been erased.", []string{"pool_name"}, nil)
)

// Describe implements [prometheus.Collector].
func (d *database) Describe(all chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		databaseUp, clockAhead, statisticsUp, shards, oldest, quarantined, neverVerified, oldestVerified, queue, unerased, oldestUnerased,
	} {
		all <- desc
	}
}

// Collect implements [prometheus.Collector].
func (d *database) Collect(all chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		all <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ahead, err := d.clockAhead(ctx)
	if err != nil {
		gauge(databaseUp, 0)
		return
	}
	gauge(databaseUp, 1)
	gauge(clockAhead, ahead.Seconds())
	stats, err := d.stats.get(ctx)
	toErase, errErase := d.unerased.get(ctx)
	if err == nil && errErase == nil {
		gauge(statisticsUp, 1)
	} else {
		gauge(statisticsUp, 0)
	}
	byPool := map[string]sharedbase.ShardStatistics{}
	for _, s := range stats {
		gauge(shards, float64(s.Shards), s.Pool, string(s.State))
		gauge(oldest, s.Oldest.Seconds(), s.Pool, string(s.State))
		gauge(quarantined, float64(s.Quarantined), s.Pool, string(s.State))
		p := byPool[s.Pool]
		p.TableBytes += s.TableBytes
		p.NeverVerified += s.NeverVerified
		p.OldestVerified = max(p.OldestVerified, s.OldestVerified)
		byPool[s.Pool] = p
	}
	var counted int64
	for _, u := range toErase {
		counted += u.Objects
	}
	for pool, p := range byPool {
		gauge(queue, float64(p.TableBytes), pool)
		gauge(neverVerified, float64(p.NeverVerified), pool)
		gauge(oldestVerified, p.OldestVerified.Seconds(), pool)
		i := slices.IndexFunc(toErase, func(u sharedbase.Unerased) bool { return u.Pool == pool })
		if errErase != nil || i < 0 && counted >= sharedbase.MaxUnerased {
			continue // not known
		}
		var u sharedbase.Unerased // of a pool without any
		if i >= 0 {
			u = toErase[i]
		}
		gauge(unerased, float64(u.Objects), pool)
		gauge(oldestUnerased, u.Oldest.Seconds(), pool)
	}
}
