// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
)

// call is a request that is worked on.
type call struct {
	*wire.Request
	id     string          // of the request, for the log
	format wire.Format     // of the answer
	body   *httpapi.Charge // for what the request refers to; may be nil
	answer *httpapi.Charge
}

// release gives the memory back, once the answer is sent.
func (c *call) release() {
	if c.body != nil {
		c.body.Release()
	}
	c.answer.Release()
}

// admit charges contents that will be answered. Encoded in JSON they are in memory a second time, a quarter larger.
func (c *call) admit(ctx context.Context) Admit {
	return func(bytes int64) error {
		if c.format == wire.JSON {
			bytes += bytes + bytes/4
		}
		return c.answer.Reach(ctx, bytes)
	}
}

// receive reads and decodes the body of a request to e.
func (h *handler) receive(r *http.Request, e endpoint) (req *wire.Request, charge *httpapi.Charge, err error) {
	if r.ContentLength == 0 {
		return &wire.Request{CheckPresence: true}, nil, nil
	}
	format, err := wire.FormatOf(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, nil, httpapi.Refuse(http.StatusUnsupportedMediaType, "%v", err)
	}
	cost := int64(1)
	if format == wire.JSON {
		cost = jsonMemory
	}
	if limit := h.maxBatchBody(format, cost); e.batch && r.ContentLength > limit {
		return nil, nil, httpapi.Refuse(http.StatusRequestEntityTooLarge,
			"the body has %d bytes, and %s takes at most %d: send fewer objects at once", r.ContentLength, r.URL.Path, limit)
	}
	body, charge, err := httpapi.ReadBody(r, h.Limits, encoded(e.limit(h.Options), format), cost)
	if err != nil {
		return nil, nil, err
	}
	decoded, err := wire.Decode(format, body, wire.ReadRequest)
	if err == nil {
		return &decoded, charge, nil
	}
	charge.Release()
	if !errors.Is(err, wire.ErrNoSHA256) {
		err = httpapi.Refuse(http.StatusBadRequest, "the body cannot be decoded: %v", err)
	}
	return nil, nil, err
}

// maxBatchBody is the size in bytes of the largest body of a batch: with all that it takes
// it is within the memory for bodies. A body that is no larger than that of one object may
// be, which is always accepted, is accepted here, too.
func (h *handler) maxBatchBody(format wire.Format, cost int64) int64 {
	return min(encoded(h.MaxBatchBytes, format), max(h.Limits.MaxBody(cost), encoded(object(h.Options), format)))
}

// encoded is the limit in a format for a body that has at most that many bytes in msgpack.
func encoded(limit int64, format wire.Format) int64 {
	if format == wire.JSON {
		limit += limit / 2
	}
	return limit
}

// maxContents is how many bytes of contents the answer to a batch may have: with their
// encoding they are within the memory for answers. As many as one object may have are
// always answered.
func (c *call) maxContents(o Options) int64 {
	limit := o.Limits.Answers.Limit()
	if c.format == wire.JSON {
		limit = limit / 9 * 4 // as admit charges them
	}
	return min(o.MaxBatchBytes, max(limit, o.MaxObjectSize))
}

// jsonMemory is how many times its size a body in JSON takes, with what its decoding makes of it.
const jsonMemory = 4

// accepted is msgpack if the Accept header prefers it to JSON.
func accepted(header http.Header) wire.Format {
	quality := map[string]float64{}
	for _, part := range strings.Split(strings.Join(header.Values("Accept"), ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		quality[mediaType] = 1
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			quality[mediaType] = q
		}
	}
	forJSON, named := quality[wire.JSON.ContentType()]
	forMsgPack := quality[wire.MsgPack.ContentType()]
	if forMsgPack > forJSON && (named || forMsgPack >= quality["*/*"]) {
		return wire.MsgPack
	}
	return wire.JSON
}
