// SPDX-License-Identifier: GPL-3.0-or-later

package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"winery/pool"
)

// pools collects what the pools say of themselves.
type pools struct {
	log *slog.Logger

	mu   sync.Mutex
	room map[string]*cached[pool.Space] // by the pool's name
}

// watch adds the pools.
func (p *pools) watch(opened map[string]pool.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room = map[string]*cached[pool.Space]{}
	for name, from := range opened {
		p.room[name] = &cached[pool.Space]{kept: 15 * time.Second, stale: staleLimit, fetch: from.Space, failed: func(err error) {
			p.log.Warn("cannot read the free space of the pool", "pool", name, "err", err)
		}}
	}
}

func (p *pools) watched() map[string]*cached[pool.Space] {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.room
}

var (
	poolUp   = prometheus.NewDesc("winery_pool_up", "1 if the pool answers this process and is its database's, else 0.", []string{"pool_name"}, nil)
	poolFree = prometheus.NewDesc("winery_pool_free_bytes", "Bytes that the pool can still take, by its space and its quota; absent where the store cannot be asked, as S3.", []string{"pool_name"}, nil)
	poolSize = prometheus.NewDesc("winery_pool_size_bytes", "Size of the pool: bytes that are free, and bytes that Winery and others have stored in it.", []string{"pool_name"}, nil)
)

// Describe implements [prometheus.Collector].
func (p *pools) Describe(all chan<- *prometheus.Desc) {
	all <- poolUp
	all <- poolFree
	all <- poolSize
}

// Collect implements [prometheus.Collector]. It asks all pools at the same time.
func (p *pools) Collect(all chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var asked sync.WaitGroup
	for name, room := range p.watched() {
		asked.Go(func() {
			up := 0.0
			space, err := room.get(ctx)
			if err == nil {
				up = 1
			}
			if err == nil && space != pool.Unlimited {
				all <- prometheus.MustNewConstMetric(poolFree, prometheus.GaugeValue, float64(space.Free), name)
				all <- prometheus.MustNewConstMetric(poolSize, prometheus.GaugeValue, float64(space.Total), name)
			}
			all <- prometheus.MustNewConstMetric(poolUp, prometheus.GaugeValue, up, name)
		})
	}
	asked.Wait()
}
