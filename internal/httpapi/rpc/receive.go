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

// receive reads and decodes the body, of at most limit bytes in msgpack.
func (h *handler) receive(r *http.Request, limit int64) (req *wire.Request, charge *httpapi.Charge, err error) {
	if r.ContentLength == 0 {
		return &wire.Request{CheckPresence: true}, nil, nil
	}
	format, err := wire.FormatOf(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, nil, httpapi.Refuse(http.StatusUnsupportedMediaType, "%v", err)
	}
	cost := int64(1)
	if format == wire.JSON {
		limit += limit / 2
		cost = jsonMemory
	}
	body, charge, err := httpapi.ReadBody(r, h.Limits, limit, cost)
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
