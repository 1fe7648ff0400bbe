// SPDX-License-Identifier: GPL-3.0-or-later

package metrics

import (
	"strings"
	"time"
)

// All names are in this file. Those that begin with swh_ are Python's, with
// their tags.
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

// Request times a request to an endpoint; failure is the type of its error, ""
// if it was answered as asked.
func (c *Client) Request(endpoint string, took time.Duration, failure string) {
	if c != nil {
		c.timed(requestSeconds, took, failure, "endpoint:"+endpoint)
	}
}

// Storage times the part of a request that the storage called name did. It is the
// same metric as Request's, distinguished by the tag name.
func (c *Client) Storage(endpoint, name string, took time.Duration, failure string) {
	if c != nil {
		c.timed(requestSeconds, took, failure, "endpoint:"+endpoint, "name:"+name)
	}
}

// In counts the bytes of a content that came by an endpoint.
func (c *Client) In(endpoint string, bytes int) {
	if c != nil {
		_ = c.to.Count(inBytes, int64(bytes), []string{"endpoint:" + endpoint + "_bytes"}, 1)
	}
}

// Out counts the bytes of a content that went by an endpoint.
func (c *Client) Out(endpoint string, bytes int) {
	if c != nil {
		_ = c.to.Count(outBytes, int64(bytes), []string{"endpoint:" + endpoint + "_bytes"}, 1)
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
		c.timed(shardOpen, took, failure, "shard_type:ro", "pool_name:"+pool)
	}
}

// NotMapped is Python's type of that error.
const NotMapped = "ShardNotMapped"

// ImageRequested counts an object looked for in an image.
func (c *Client) ImageRequested(pool string, found Cache) {
	if c != nil {
		_ = c.to.Incr(shardRequests, []string{"shard_type:ro", "cache_status:" + string(found), "pool_name:" + pool}, 1)
	}
}

// TableRequested counts an object looked for in a shard's table. There is
// nothing to open, so it is always a hit.
func (c *Client) TableRequested() {
	if c != nil {
		_ = c.to.Incr(shardRequests, []string{"shard_type:rw", "cache_status:" + string(Hit)}, 1)
	}
}

// ImagesHanging sets how many images of a pool do not answer.
func (c *Client) ImagesHanging(pool string, images int) {
	if c != nil {
		_ = c.to.Gauge(imagesHanging, float64(images), []string{"pool_name:" + pool}, 1)
	}
}

// ReadRefused counts a read that was refused or cancelled because its image or
// pool does not answer.
func (c *Client) ReadRefused(pool string) {
	if c != nil {
		_ = c.to.Incr(readsRefused, []string{"pool_name:" + pool}, 1)
	}
}

// PackingStarts sets the size in bytes at which a shard of the target pool is
// full. As in Python it has no tag.
func (c *Client) PackingStarts(maxSize int64) {
	if c != nil {
		_ = c.to.Gauge(packerMaxSize, float64(maxSize), nil, 1)
	}
}

// ObjectPacked counts an object of a size in bytes that went into an image.
func (c *Client) ObjectPacked(pool string, size int64) {
	if c != nil {
		tags := []string{"pool_name:" + pool}
		_ = c.to.Incr(packerObjects, tags, 1)
		_ = c.to.Count(packerBytes, size, tags, 1)
	}
}

// Packed times the writing and verifying of an image; failure is the type of
// its error, else "".
func (c *Client) Packed(pool string, took time.Duration, failure string) {
	if c != nil {
		c.timed(packerSeconds, took, failure, "pool_name:"+pool)
	}
}

// Reclaimed counts a shard that was reclaimed from a dead holder, by the state in
// which it was.
func (c *Client) Reclaimed(was string) {
	if c != nil {
		_ = c.to.Incr(reclaimed, []string{"was:" + was}, 1)
	}
}

// Quarantined counts a shard that was quarantined because it is not consistent.
func (c *Client) Quarantined(role, pool string) {
	if c != nil {
		_ = c.to.Incr(quarantined, []string{"role:" + role, "pool_name:" + pool}, 1)
	}
}

// LeaseLost counts a step that was aborted because the lease on its shard was
// lost.
func (c *Client) LeaseLost(role string) {
	if c != nil {
		_ = c.to.Incr(leaseLost, []string{"role:" + role}, 1)
	}
}

// StepFailed counts a step of a role that failed.
func (c *Client) StepFailed(role string) {
	if c != nil {
		_ = c.to.Incr(stepsFailed, []string{"role:" + role}, 1)
	}
}

// BackOff sets how long a role waits after a step that failed, 0 after one that
// succeeded.
func (c *Client) BackOff(role string, wait time.Duration) {
	if c != nil {
		_ = c.to.Gauge(backOff, wait.Seconds(), []string{"role:" + role}, 1)
	}
}

// Stalled sets for how long a role has made no progress.
func (c *Client) Stalled(role string, d time.Duration) {
	if c != nil {
		_ = c.to.Gauge(stalled, d.Seconds(), []string{"role:" + role}, 1)
	}
}

// Scrubbed counts bytes of a pool's shards that were read and compared.
func (c *Client) Scrubbed(pool string, bytes int64) {
	if c != nil {
		_ = c.to.Count(scrubBytes, bytes, []string{"pool_name:" + pool}, 1)
	}
}

// ScrubFound counts a finding of a scrub, by its kind.
func (c *Client) ScrubFound(pool, kind string) {
	if c != nil {
		_ = c.to.Incr(scrubFindings, []string{"pool_name:" + pool, "kind:" + strings.ReplaceAll(kind, " ", "_")}, 1)
	}
}
