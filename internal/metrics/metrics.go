// SPDX-License-Identifier: GPL-3.0-or-later

package metrics

import (
	"runtime"
	"strings"
	"time"
)

// The names of statsd. Those that begin with swh_ are Python's, with their tags;
// the others are the names of the same Prometheus metrics, whose labels are the
// tags. All other names are in series.go.
const (
	requestSeconds = "swh_objstorage_request_duration_seconds"
	inBytes        = "swh_objstorage_in_bytes_total"
	outBytes       = "swh_objstorage_out_bytes_total"
	shardOpen      = "swh_objstorage_winery_shard_open_seconds"
	shardRequests  = "swh_objstorage_winery_shard_request_count"
	packerSeconds  = "swh_objstorage_winery_packer_seconds"
	packerObjects  = "swh_objstorage_winery_packer_objects"
	packerBytes    = "swh_objstorage_winery_packer_volume_bytes"
	packerMaxSize  = "swh_objstorage_winery_packer_shard_max_size_bytes"

	imagesHanging = "winery_images_hanging"
	readsRefused  = "winery_reads_refused_total"
	reclaimed     = "winery_reclaimed_total"
	quarantined   = "winery_quarantined_total"
	leaseLost     = "winery_lease_lost_total"
	stepsFailed   = "winery_step_failures_total"
	backOff       = "winery_backoff_seconds"
	stalled       = "winery_stalled_seconds"
	scrubBytes    = "winery_scrub_bytes_total"
	scrubFindings = "winery_scrub_findings_total"
)

// Result is the outcome of what was measured, as a label.
type Result string

// The results. A request that the client could have avoided is no failure of the
// server.
const (
	Success     Result = "success"
	ClientError Result = "client_error"
	ServerError Result = "server_error"
	failure     Result = "failure" // of work other than a request
)

// resultOf is that of work other than a request.
func resultOf(failed bool) string {
	if failed {
		return string(failure)
	}
	return string(Success)
}

// Running says which program runs, with which configuration and pools. What counts its
// failures begins at 0, so that the first one is an increase, and so does what another
// process may have left in statsd, which keeps the last value of a gauge.
func (c *Client) Running(role, version, configHash string, pools []string) {
	if c == nil {
		return
	}
	c.build.WithLabelValues(role, version, runtime.Version()).Set(1)
	c.configuration.WithLabelValues(role, configHash).Set(1)
	for _, was := range []string{"writing", "packing", "cleaning"} {
		c.reclaims.WithLabelValues(was)
	}
	if role == "writer" {
		c.leasesLost.WithLabelValues(role)
	}
	for _, pool := range pools {
		if role == "writer" || role == "reader" { // which quarantine nothing
			c.refused.WithLabelValues(pool)
			c.ImagesHanging(pool, 0)
			continue
		}
		c.quarantines.WithLabelValues(role, pool)
	}
}

// Expires sets when the certificate of the server expires, zero if it has none, and when
// the access of the clients does that have a last day.
func (c *Client) Expires(certificate time.Time, clients map[string]time.Time) {
	if c == nil {
		return
	}
	c.certificateExpiry.Reset()
	if !certificate.IsZero() {
		c.certificateExpiry.WithLabelValues().Set(float64(certificate.Unix()))
	}
	c.accessExpiry.Reset()
	for client, expires := range clients {
		c.accessExpiry.WithLabelValues(client).Set(float64(expires.Unix()))
	}
}

// InFlight adds to the number of requests in flight.
func (c *Client) InFlight(change int) {
	if c != nil {
		c.requestsInFlight.Add(float64(change))
	}
}

// Request times a request to an endpoint; failure is the type of its error, ""
// if it was answered as asked.
func (c *Client) Request(endpoint string, took time.Duration, result Result, failure string) {
	if c != nil {
		c.requests.WithLabelValues(endpoint, string(result)).Observe(took.Seconds())
		c.timed(requestSeconds, took, failure, "endpoint", endpoint)
	}
}

// Storage times the part of a request that the storage called name did. In statsd
// it is the same metric as Request's, distinguished by the tag name.
func (c *Client) Storage(endpoint, name string, took time.Duration, result Result, failure string) {
	if c != nil {
		c.storageCalls.WithLabelValues(endpoint, string(result)).Observe(took.Seconds())
		c.timed(requestSeconds, took, failure, "endpoint", endpoint, "name", name)
	}
}

// In counts the bytes of a content that came by an endpoint.
func (c *Client) In(endpoint string, bytes int) {
	if c != nil {
		c.contentIn.WithLabelValues(endpoint).Add(float64(bytes))
		c.content(inBytes, endpoint, bytes)
	}
}

// Out counts the bytes of a content that went by an endpoint.
func (c *Client) Out(endpoint string, bytes int) {
	if c != nil {
		c.contentOut.WithLabelValues(endpoint).Add(float64(bytes))
		c.content(outBytes, endpoint, bytes)
	}
}

// BatchIn is In for the contents of a batch, which Python does not count.
func (c *Client) BatchIn(endpoint string, bytes int64) {
	if c != nil {
		c.contentIn.WithLabelValues(endpoint).Add(float64(bytes))
	}
}

// BatchOut is Out for the contents of a batch, which Python does not count.
func (c *Client) BatchOut(endpoint string, bytes int64) {
	if c != nil {
		c.contentOut.WithLabelValues(endpoint).Add(float64(bytes))
	}
}

func (c *Client) content(name, endpoint string, bytes int) {
	if c.statsd != nil {
		c.count(name, int64(bytes), "endpoint", endpoint+"_bytes")
	}
}

// Cache says how the image was found in which an object was looked for.
type Cache string

// An image was open, was opened for it, or is not mapped on this host, so that
// the shard's table was read.
const (
	Hit         Cache = "hit"
	Miss        Cache = "miss"
	Fallthrough Cache = "fallthrough"
)

// ImageOpened times the opening of a shard's image; failure is the type of its
// error, NotMapped for one that is not mapped on this host, else "".
func (c *Client) ImageOpened(pool string, took time.Duration, failure string) {
	if c != nil {
		result := resultOf(failure != "")
		if failure == NotMapped {
			result = "not_mapped"
		}
		c.imageOpenings.WithLabelValues(pool, result).Observe(took.Seconds())
		c.timed(shardOpen, took, failure, "shard_type", "ro", "pool_name", pool)
	}
}

// NotMapped is Python's type of that error.
const NotMapped = "ShardNotMapped"

// ImageRequested counts an object looked for in an image.
func (c *Client) ImageRequested(pool string, found Cache) {
	if c != nil {
		c.lookups.WithLabelValues(pool, "image", string(found)).Inc()
		c.count(shardRequests, 1, "shard_type", "ro", "cache_status", string(found), "pool_name", pool)
	}
}

// TableRequested counts an object looked for in a shard's table. There is
// nothing to open, so it is always a hit.
func (c *Client) TableRequested(pool string) {
	if c != nil {
		c.lookups.WithLabelValues(pool, "table", string(Hit)).Inc()
		c.count(shardRequests, 1, "shard_type", "rw", "cache_status", string(Hit))
	}
}

// ImagesHanging sets how many images of a pool do not answer.
func (c *Client) ImagesHanging(pool string, images int) {
	if c != nil {
		c.hanging.WithLabelValues(pool).Set(float64(images))
		c.gauge(imagesHanging, float64(images), "pool_name", pool)
	}
}

// HashCache says what the cache of hash functions had for the opening of an image.
type HashCache string

// What the cache had.
const (
	HashHit   HashCache = "hit"
	HashMiss  HashCache = "miss"
	HashStale HashCache = "stale" // it did not lead to an object, and the image was asked
)

// HashCacheUsed counts a use of the cache of hash functions.
func (c *Client) HashCacheUsed(pool string, had HashCache) {
	if c != nil {
		c.hashes.WithLabelValues(pool, string(had)).Inc()
	}
}

// HashCacheSize sets the bytes in the cache of hash functions.
func (c *Client) HashCacheSize(bytes int64) {
	if c != nil {
		c.hashesSize.Set(float64(bytes))
	}
}

// HashCacheFailed counts a file of the cache that could not be read or written.
func (c *Client) HashCacheFailed() {
	if c != nil {
		c.hashesFailed.Inc()
	}
}

// ReadRefused counts a read that was refused or cancelled because its image or
// pool does not answer.
func (c *Client) ReadRefused(pool string) {
	if c != nil {
		c.refused.WithLabelValues(pool).Inc()
		c.count(readsRefused, 1, "pool_name", pool)
	}
}

// AddsWaiting adds to the number of adds that no lane has taken.
func (c *Client) AddsWaiting(change int) {
	if c != nil {
		c.addsWaiting.Add(float64(change))
	}
}

// AddQueued times how long an add waited until a lane took it.
func (c *Client) AddQueued(wait time.Duration) {
	if c != nil {
		c.addsQueued.Observe(wait.Seconds())
	}
}

// AddsMemory adds to the bytes that adds hold until they are answered.
func (c *Client) AddsMemory(change int64) {
	if c != nil {
		c.addsMemory.Add(float64(change))
	}
}

// Committed times a transaction that added objects, or failed.
func (c *Client) Committed(took time.Duration, err error) {
	if c != nil {
		c.commits.WithLabelValues(resultOf(err != nil)).Observe(took.Seconds())
	}
}

// Packs says of which pool this process packs shards, and the size in bytes at which they
// are full.
func (c *Client) Packs(pool string, maxSize int64) {
	if c != nil {
		c.maxSize.WithLabelValues(pool).Set(float64(maxSize))
	}
}

// PackingStarts tells statsd the size in bytes at which a shard of the target pool is
// full, without a tag, as in Python.
func (c *Client) PackingStarts(maxSize int64) {
	if c != nil {
		c.gauge(packerMaxSize, float64(maxSize))
	}
}

// ObjectPacked counts an object of a size in bytes that went into an image.
func (c *Client) ObjectPacked(pool string, size int64) {
	if c != nil {
		c.packedObjects.WithLabelValues(pool).Inc()
		c.packedBytes.WithLabelValues(pool).Add(float64(size))
		c.count(packerObjects, 1, "pool_name", pool)
		c.count(packerBytes, size, "pool_name", pool)
	}
}

// Verified counts bytes of a new image that were read back and compared.
func (c *Client) Verified(pool string, bytes int64) {
	if c != nil {
		c.verified.WithLabelValues(pool).Add(float64(bytes))
	}
}

// Packed times the writing and verifying of an image; failure is the type of
// its error, else "".
func (c *Client) Packed(pool string, took time.Duration, failure string) {
	if c != nil {
		c.packings.WithLabelValues(pool, resultOf(failure != "")).Observe(took.Seconds())
		c.timed(packerSeconds, took, failure, "pool_name", pool)
	}
}

// Erased counts deleted objects that were erased in images of a pool.
func (c *Client) Erased(pool string, objects int64) {
	if c != nil {
		c.erasedObjects.WithLabelValues(pool).Add(float64(objects))
	}
}

// Overwritten counts bytes that were overwritten in images of a pool to erase
// objects.
func (c *Client) Overwritten(pool string, bytes int) {
	if c != nil {
		c.erasedBytes.WithLabelValues(pool).Add(float64(bytes))
	}
}

// Reclaimed counts a shard that was reclaimed from a dead holder, by the state in
// which it was.
func (c *Client) Reclaimed(was string) {
	if c != nil {
		c.reclaims.WithLabelValues(was).Inc()
		c.count(reclaimed, 1, "was", was)
	}
}

// Quarantined counts a shard that was quarantined because it is not consistent.
func (c *Client) Quarantined(role, pool string) {
	if c != nil {
		c.quarantines.WithLabelValues(role, pool).Inc()
		c.count(quarantined, 1, "role", role, "pool_name", pool)
	}
}

// LeaseLost counts a step that was aborted because the lease on its shard was
// lost.
func (c *Client) LeaseLost(role string) {
	if c != nil {
		c.leasesLost.WithLabelValues(role).Inc()
		c.count(leaseLost, 1, "role", role)
	}
}

// LoopBegins sets what counts the failures of a role's part to 0. part is "" where
// the role has one loop.
func (c *Client) LoopBegins(role, part string) {
	if c != nil {
		c.leasesLost.WithLabelValues(role)
		c.failures.WithLabelValues(role, part)
		if part != "" {
			c.waits.DeleteLabelValues(role, "") // of the role's start, which has ended
		}
		c.waits.WithLabelValues(role, part)
	}
}

// StepFailed counts a step of a role's part that failed. statsd does not know parts.
func (c *Client) StepFailed(role, part string) {
	if c != nil {
		c.failures.WithLabelValues(role, part).Inc()
		c.count(stepsFailed, 1, "role", role)
	}
}

// BackOff sets how long a role's part waits after a step that failed, 0 after one
// that succeeded, or while it works. statsd does not know parts.
func (c *Client) BackOff(role, part string, wait time.Duration) {
	if c != nil {
		c.waits.WithLabelValues(role, part).Set(wait.Seconds())
		c.gauge(backOff, wait.Seconds(), "role", role)
	}
}

// Stalled sets for how long a role has made no progress.
func (c *Client) Stalled(role string, d time.Duration) {
	if c != nil {
		c.stalls.WithLabelValues(role).Set(d.Seconds())
		c.gauge(stalled, d.Seconds(), "role", role)
	}
}

// Scrubbed counts bytes of a pool's shards that were read and compared.
func (c *Client) Scrubbed(pool string, bytes int64) {
	if c != nil {
		c.scrubbed.WithLabelValues(pool).Add(float64(bytes))
		c.count(scrubBytes, bytes, "pool_name", pool)
	}
}

// ScrubFound counts a finding of a scrub, by its kind.
func (c *Client) ScrubFound(pool, kind string) {
	if c != nil {
		kind = strings.ReplaceAll(kind, " ", "_")
		c.findings.WithLabelValues(pool, kind).Inc()
		c.count(scrubFindings, 1, "pool_name", pool, "kind", kind)
	}
}

// ImageScrubbed notes that the scrub has finished an image of a pool just now.
func (c *Client) ImageScrubbed(pool string) {
	if c != nil {
		c.scrubbedImage.WithLabelValues(pool).SetToCurrentTime()
	}
}

// RoundScrubbed notes that the scrub has finished a round over all mapped images
// just now.
func (c *Client) RoundScrubbed() {
	if c != nil {
		c.scrubbedRound.WithLabelValues().SetToCurrentTime()
	}
}
