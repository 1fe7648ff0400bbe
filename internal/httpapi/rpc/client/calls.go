// SPDX-License-Identifier: GPL-3.0-or-later

package client

import (
	"context"
	"crypto/sha256"
	"fmt"

	"winery/internal/httpapi/rpc/wire"
)

const pathDelete = "/content/delete"

// Contains reports whether the object is there.
func (c *Client) Contains(ctx context.Context, id [32]byte) (bool, error) {
	return call(ctx, c, "/content/contains", wire.Request{ObjID: wire.ID(id)}, wire.Decoder.Bool)
}

// Get is the object's content, whose SHA-256 was compared with id: ErrNotFound, ErrCorrupted.
func (c *Client) Get(ctx context.Context, id [32]byte) ([]byte, error) {
	content, err := call(ctx, c, "/content/get", wire.Request{ObjID: wire.ID(id)}, wire.ReadContent)
	if err == nil {
		err = verify(id, content)
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}

// GetBatch has the contents in the order of ids, nil for those that are not there; the SHA-256 of each was compared with
// its id: ErrCorrupted. There is a limit to their bytes.
func (c *Client) GetBatch(ctx context.Context, ids [][32]byte) ([][]byte, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	contents, err := call(ctx, c, "/content/get/batch", wire.Request{ObjIDs: ids}, wire.ReadContents)
	if err == nil && len(contents) != len(ids) {
		err = fmt.Errorf("/content/get/batch: asked for %d objects, the server answered %d", len(ids), len(contents))
	}
	for i := 0; err == nil && i < len(ids); i++ {
		if contents[i] != nil {
			err = verify(ids[i], contents[i])
		}
	}
	if err != nil {
		return nil, err
	}
	return contents, nil
}

// verify fails unless content is the object id. The server compared them, too: what differs here was changed on its way.
func verify(id [32]byte, content []byte) error {
	if sum := sha256.Sum256(content); sum != id {
		return fmt.Errorf("%w: asked for the object %x, the server answered %d bytes that have sha256 %x", ErrCorrupted, id, len(content), sum)
	}
	return nil
}

// Add stores content under its SHA-256. When it returns, the object is durable.
func (c *Client) Add(ctx context.Context, id [32]byte, content []byte) error {
	if content == nil {
		content = []byte{}
	}
	_, err := call(ctx, c, "/content/add", wire.Request{ObjID: wire.ID(id), Content: content, CheckPresence: true}, wire.ReadNull)
	return err
}

// AddBatch stores objects, and counts those that were not there before, and their bytes.
func (c *Client) AddBatch(ctx context.Context, objects []Object) (added int, size int64, err error) {
	if len(objects) == 0 {
		return 0, 0, nil
	}
	s, err := call(ctx, c, "/content/add/batch", wire.Request{Contents: objects, CheckPresence: true}, wire.ReadSummary)
	return s.Objects, s.Bytes, err
}

// Check has the server read the object and compare its SHA-256: ErrNotFound, ErrCorrupted.
func (c *Client) Check(ctx context.Context, id [32]byte) error {
	_, err := call(ctx, c, "/content/check", wire.Request{ObjID: wire.ID(id)}, wire.ReadNull)
	return err
}

// Delete deletes the object: ErrNotFound, ErrForbidden where the server does not allow it.
func (c *Client) Delete(ctx context.Context, id [32]byte) error {
	_, err := call(ctx, c, pathDelete, wire.Request{ObjID: wire.ID(id)}, wire.Decoder.Bool)
	return err
}

// CheckConfig reports whether the server is configured to be read, and if forWriting to be
// written to. It does not tell whether its database is available.
func (c *Client) CheckConfig(ctx context.Context, forWriting bool) (bool, error) {
	return call(ctx, c, "/check_config", wire.Request{CheckWrite: forWriting}, wire.Decoder.Bool)
}
