// SPDX-License-Identifier: GPL-3.0-or-later

package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"winery/sharedbase"
)

// database collects what the database says of the fleet.
type database struct {
	base  atomic.Pointer[sharedbase.SharedBase] // nil: not opened yet
	ping  cached[struct{}]
	stats cached[[]sharedbase.ShardStatistics]
}

func newDatabase(log *slog.Logger) *database {
	d := &database{}
	d.ping = cached[struct{}]{kept: time.Second, fetch: func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.base.Load().Ping(ctx)
	}}
	d.stats = cached[[]sharedbase.ShardStatistics]{kept: 15 * time.Second, fetch: func(ctx context.Context) ([]sharedbase.ShardStatistics, error) {
		return d.base.Load().Statistics(ctx)
	}, failed: func(err error) { log.Warn("cannot measure the shards", "err", err) }}
	return d
}

// check returns nil if the database answers.
func (d *database) check(ctx context.Context) error {
	if d.base.Load() == nil {
		return errNotOpened
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := d.ping.get(ctx)
	return err
}

var (
	databaseUp = prometheus.NewDesc("winery_database_up", "1 if the database answers this process, else 0.", nil, nil)
	shards     = prometheus.NewDesc("winery_shards", "Shards of the whole fleet.", []string{"pool_name", "state"}, nil)
	oldest     = prometheus.NewDesc("winery_shards_oldest_age_seconds",
		"For how long the oldest shard of a state has been in it.", []string{"pool_name", "state"}, nil)
	quarantined   = prometheus.NewDesc("winery_shards_quarantined", "Shards of the whole fleet that are quarantined.", []string{"pool_name"}, nil)
	neverVerified = prometheus.NewDesc("winery_images_never_verified",
		"Images that were never read back as a whole.", []string{"pool_name"}, nil)
	oldestVerified = prometheus.NewDesc("winery_images_oldest_verification_age_seconds",
		"Time since the last complete verification, of the image for which it is longest.", []string{"pool_name"}, nil)
	queue = prometheus.NewDesc("winery_full_queue_bytes",
		"Size in the database of the tables that wait for a packer.", []string{"pool_name"}, nil)
)

// Describe implements [prometheus.Collector].
func (d *database) Describe(all chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{databaseUp, shards, oldest, quarantined, neverVerified, oldestVerified, queue} {
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
	if d.check(ctx) != nil {
		gauge(databaseUp, 0)
		return
	}
	gauge(databaseUp, 1)
	stats, err := d.stats.get(ctx)
	if err != nil {
		return
	}
	byPool := map[string]sharedbase.ShardStatistics{}
	for _, s := range stats {
		gauge(shards, float64(s.Shards), s.Pool, string(s.State))
		gauge(oldest, s.Oldest.Seconds(), s.Pool, string(s.State))
		p := byPool[s.Pool]
		p.Quarantined += s.Quarantined
		p.TableBytes += s.TableBytes
		p.NeverVerified += s.NeverVerified
		p.OldestVerified = max(p.OldestVerified, s.OldestVerified)
		byPool[s.Pool] = p
	}
	for pool, p := range byPool {
		gauge(quarantined, float64(p.Quarantined), pool)
		gauge(queue, float64(p.TableBytes), pool)
		gauge(neverVerified, float64(p.NeverVerified), pool)
		gauge(oldestVerified, p.OldestVerified.Seconds(), pool)
	}
}
