// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
)

// receive reads and decodes the body, of at most limit bytes in msgpack. The request refers to the body's memory, which
// is accounted for until release is called.
func (h *handler) receive(w http.ResponseWriter, r *http.Request, limit int64) (req *wire.Request, release func(), err error) {
	if r.ContentLength == 0 {
		return &wire.Request{CheckPresence: true}, func() {}, nil
	}
	format, err := wire.FormatOf(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, nil, httpapi.Refuse(http.StatusUnsupportedMediaType, "%v", err)
	}
	memory := r.ContentLength
	if format == wire.JSON {
		limit += limit / 2
		memory *= jsonMemory
	}
	body, release, err := h.Bodies.Read(w, r, limit, memory)
	if err != nil {
		return nil, nil, err
	}
	decoded, err := wire.Decode(format, body, wire.ReadRequest)
	if err == nil {
		return &decoded, release, nil
	}
	release()
	if !errors.Is(err, wire.ErrNoSHA256) {
		err = httpapi.Refuse(http.StatusBadRequest, "the body cannot be understood: %v", err)
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
