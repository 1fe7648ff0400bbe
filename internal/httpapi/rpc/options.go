// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"log/slog"

	"winery/internal/httpapi"
	"winery/internal/metrics"
)

// Options are a handler's settings. A zero size means its default.
type Options struct {
	Name     string // of the object storage, shown at /
	ReadOnly bool   // refuse to add and delete
	// AllowDelete makes /content/delete work. Without it the answer is PermissionError.
	AllowDelete bool
	// MaxObjectSize is the size in bytes of the largest object that is accepted. Default: 100 MiB.
	MaxObjectSize int64
	// MaxBatchBytes is the size of the largest body of /content/add/batch (half as much again in JSON), and of the
	// contents that one /content/get/batch returns. At least MaxObjectSize and some. Default: four times
	// MaxObjectSize, but no less than 64 MiB. A batch that does not fit into the budgets of Limits is refused, too,
	// unless it is no larger than one object may be.
	MaxBatchBytes int64
	// Limits bound what clients hold. Default: httpapi.DefaultLimits. A body in JSON is charged four times, for what its
	// decoding takes.
	Limits *httpapi.Limits
	// Metrics may be nil.
	Metrics *metrics.Client
	// Access decides which clients may send which requests. Default: every client has all rights.
	Access httpapi.Access
	// Log gets each request at level debug, and those that end with a status of 500 or more as errors. Default: slog's.
	Log *slog.Logger
}

const (
	// smallBody bounds bodies that hold one obj_id, and what surrounds an object's content.
	smallBody = httpapi.Small
	// idsBody bounds the body of /content/get/batch: wire.MaxBatch ids with all four hashes.
	idsBody = 20 << 20
)

func (o Options) withDefaults() Options {
	if o.MaxObjectSize == 0 {
		o.MaxObjectSize = 100 << 20
	}
	if o.MaxBatchBytes == 0 {
		o.MaxBatchBytes = max(4*o.MaxObjectSize, 64<<20)
	}
	o.MaxBatchBytes = max(o.MaxBatchBytes, o.MaxObjectSize+smallBody)
	if o.Limits == nil {
		o.Limits = httpapi.DefaultLimits()
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}
