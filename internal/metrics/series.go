// SPDX-License-Identifier: GPL-3.0-or-later

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	// callSeconds are the bounds of what usually takes milliseconds. The longest
	// that a client waits is 30 s.
	callSeconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	// packSeconds are the bounds of the packing of a shard, from a test's to one of
	// 100 GB.
	packSeconds = []float64{1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200}
)

// series are the Prometheus metrics that a process measures itself. Package
// telemetry adds those that are asked of the database and the pools.
type series struct {
	requests, storageCalls                      *prometheus.HistogramVec
	requestsInFlight                            prometheus.Gauge
	contentIn, contentOut                       *prometheus.CounterVec
	imageOpenings                               *prometheus.HistogramVec
	lookups                                     *prometheus.CounterVec
	hanging                                     *prometheus.GaugeVec
	refused                                     *prometheus.CounterVec
	hashes                                      *prometheus.CounterVec
	hashesSize                                  prometheus.Gauge
	hashesFailed                                prometheus.Counter
	addsWaiting, addsMemory                     prometheus.Gauge
	addsQueued                                  prometheus.Histogram
	commits                                     *prometheus.HistogramVec
	packings                                    *prometheus.HistogramVec
	packedObjects, packedBytes, verified        *prometheus.CounterVec
	maxSize                                     *prometheus.GaugeVec
	erasedObjects, erasedBytes                  *prometheus.CounterVec
	scrubbed, findings                          *prometheus.CounterVec
	scrubbedImage, scrubbedRound                *prometheus.GaugeVec
	leasesLost, reclaims, quarantines, failures *prometheus.CounterVec
	waits, stalls                               *prometheus.GaugeVec
	certificateExpiry, accessExpiry             *prometheus.GaugeVec
	build, configuration                        *prometheus.GaugeVec
}

func newSeries(registry prometheus.Registerer) *series {
	in := promauto.With(registry)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return in.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return in.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	duration := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return in.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	single := func(name, help string) prometheus.Gauge {
		return in.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	return &series{
		requests: duration("winery_http_request_duration_seconds",
			"Requests of the HTTP APIs, until the end of the answer.", callSeconds, "endpoint", "result"),
		storageCalls: duration("winery_http_storage_duration_seconds",
			"The part of a request in which the storage worked.", callSeconds, "endpoint", "result"),
		requestsInFlight: single("winery_http_requests_in_flight", "Requests that are not answered yet."),
		contentIn:        counter("winery_content_received_bytes_total", "Bytes of contents that clients sent.", "endpoint"),
		contentOut:       counter("winery_content_sent_bytes_total", "Bytes of contents that were sent to clients.", "endpoint"),

		imageOpenings: duration("winery_image_open_duration_seconds",
			"Openings of images for readers.", callSeconds, "pool_name", "result"),
		lookups: counter("winery_shard_lookups_total",
			"Objects that were looked for in an image or in a table.", "pool_name", "source", "cache"),
		hanging: gauge(imagesHanging, "Images that do not answer the readers of this host.", "pool_name"),
		refused: counter(readsRefused, "Reads that were refused or cancelled because an image or its pool does not answer.", "pool_name"),

		hashes:     counter("winery_hash_cache_lookups_total", "Hash functions that were looked for in the cache on disk.", "pool_name", "result"),
		hashesSize: single("winery_hash_cache_bytes", "Bytes of the cache of hash functions on disk."),
		hashesFailed: in.NewCounter(prometheus.CounterOpts{
			Name: "winery_hash_cache_failures_total", Help: "Files of the cache of hash functions that could not be read or written.",
		}),

		addsWaiting: single("winery_adds_waiting", "Adds that no lane of the writer has taken yet."),
		addsMemory:  single("winery_adds_memory_bytes", "Memory of the adds that are not answered yet."),
		addsQueued: in.NewHistogram(prometheus.HistogramOpts{
			Name: "winery_add_queue_duration_seconds", Help: "Waits of adds until a lane took them.", Buckets: callSeconds,
		}),
		commits: duration("winery_commit_duration_seconds",
			"Transactions that add a group of objects.", callSeconds, "result"),

		packings: duration("winery_pack_duration_seconds",
			"Packing of a shard, reading the image back included.", packSeconds, "pool_name", "result"),
		packedObjects: counter("winery_packed_objects_total", "Objects that were written to images.", "pool_name"),
		packedBytes:   counter("winery_packed_bytes_total", "Bytes of contents that were written to images.", "pool_name"),
		verified:      counter("winery_verified_bytes_total", "Bytes of new images that were read back and compared.", "pool_name"),
		maxSize:       gauge("winery_packer_shard_max_size_bytes", "Bytes of contents at which a shard is full.", "pool_name"),
		erasedObjects: counter("winery_erased_objects_total", "Deleted objects that were erased in images.", "pool_name"),
		erasedBytes:   counter("winery_erased_bytes_total", "Bytes that were overwritten in images to erase objects.", "pool_name"),

		scrubbed:      counter(scrubBytes, "Bytes that the scrub has read.", "pool_name"),
		findings:      counter(scrubFindings, "Damage that the scrub found.", "pool_name", "kind"),
		scrubbedImage: gauge("winery_scrub_last_image_timestamp_seconds", "When the scrub last finished an image.", "pool_name"),
		scrubbedRound: gauge("winery_scrub_last_round_timestamp_seconds", "When the scrub last finished a round over all mapped images."),

		leasesLost:  counter(leaseLost, "Steps that were aborted because the lease was lost.", "role"),
		reclaims:    counter(reclaimed, "Shards that were reclaimed from holders whose lease expired, by their state.", "was"),
		quarantines: counter(quarantined, "Shards that were quarantined.", "role", "pool_name"),
		failures:    counter(stepsFailed, "Steps that failed.", "role", "part"),
		waits:       gauge(backOff, "How long the role waits after a step failed, or its start; 0 once a step has succeeded. A packer's is also 0 once it has packed for more than a minute, and for longer than each of its tries that failed.", "role", "part"),
		stalls:      gauge(stalled, "Time since the last progress of the current step; 0 while the role waits.", "role"),

		certificateExpiry: gauge("winery_certificate_expiry_timestamp_seconds", "When the TLS certificate of the writer expires."),
		accessExpiry:      gauge("winery_access_expiry_timestamp_seconds", "When the access of a client expires.", "client"),

		build:         gauge("winery_build_info", "The running program; the value is 1.", "role", "version", "goversion"),
		configuration: gauge("winery_config_info", "SHA-256 of the configuration with its defaults, without the DSN of the database and the flags; the value is 1.", "role", "sha256"),
	}
}
