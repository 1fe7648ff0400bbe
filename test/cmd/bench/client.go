// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"winery/internal/httpapi/rpc/client"
	"winery/internal/httpapi/rpc/wire"
)

// leanClient is a client whose calls Add, AddBatch and Get take half of the CPU: the clients share the machine with
// the store that they measure. They repeat nothing, do not tell when the first byte of an answer came, and do not end
// with their context, but after callTimeout.
type leanClient struct {
	*client.Client // for the other calls
	http           fasthttp.HostClient
}

const callTimeout = 2 * time.Minute

func newLeanClient(address string, c *client.Client) (*leanClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return &leanClient{c, fasthttp.HostClient{
		Addr: u.Host, MaxConns: connections, ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10,
		MaxIdleConnDuration: time.Second, // servers keep an idle connection longer
	}}, nil
}

func (c *leanClient) Add(_ context.Context, id [32]byte, content []byte) error {
	_, err := call(c, "/content/add", wire.Request{ObjID: wire.ID(id), Content: content, CheckPresence: true}, wire.ReadNull)
	return err
}

func (c *leanClient) AddBatch(_ context.Context, objects []client.Object) (added int, size int64, err error) {
	s, err := call(c, "/content/add/batch", wire.Request{Contents: objects, CheckPresence: true}, wire.ReadSummary)
	return s.Objects, s.Bytes, err
}

func (c *leanClient) Get(_ context.Context, id [32]byte) (content []byte, err error) {
	return call(c, "/content/get", wire.Request{ObjID: wire.ID(id)}, func(d wire.Decoder) ([]byte, error) {
		content, err := wire.ReadContent(d)
		if err == nil && sha256.Sum256(content) != id {
			err = fmt.Errorf("the server answered other bytes than those of the object %x", id)
		}
		return content, err
	})
}

// call sends a request and decodes the answer. What it returns may refer to memory that other calls use: the load looks
// at nothing of it but its length.
func call[T any](c *leanClient, path string, request wire.Request, read func(wire.Decoder) (T, error)) (v T, err error) {
	sent, received := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(sent)
	defer fasthttp.ReleaseResponse(received)
	sent.Header.SetMethod(fasthttp.MethodPost)
	sent.SetRequestURI(path)
	sent.Header.SetHost(c.http.Addr)
	sent.Header.SetContentType(wire.MsgPack.ContentType())
	sent.Header.Set(fasthttp.HeaderAccept, wire.MsgPack.ContentType())
	if _, err := request.Encode(wire.MsgPack).WriteTo(sent.BodyWriter()); err != nil {
		return v, err
	}
	if err := c.http.DoTimeout(sent, received, callTimeout); err != nil {
		return v, fmt.Errorf("%s: %w", path, err)
	}
	if received.StatusCode() != fasthttp.StatusOK {
		return v, fmt.Errorf("%s: the server answered %d: %s", path, received.StatusCode(), received.Body())
	}
	return wire.Decode(wire.MsgPack, received.Body(), read)
}
