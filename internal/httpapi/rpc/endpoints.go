// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
)

type endpoint struct {
	name  string // of the Python method
	timed bool   // Python's backend times it, too, see metrics.Client.Storage
	needs httpapi.Right
	what  string // what clients call it, if it changes the store
	batch bool   // its body has any number of contents
	limit func(Options) int64
	serve func(*handler, context.Context, *call) (wire.Answer, error)
}

func small(Options) int64     { return smallBody }
func ids(Options) int64       { return idsBody }
func object(o Options) int64  { return o.MaxObjectSize + smallBody }
func objects(o Options) int64 { return o.MaxBatchBytes }

var endpoints = map[string]endpoint{
	CheckConfig:             {"check_config", false, httpapi.Read, "", false, small, (*handler).checkConfig},
	"/content/contains":     {"__contains__", true, httpapi.Read, "", false, small, (*handler).contains},
	"/content/add":          {"add", true, httpapi.Write, "add", false, object, (*handler).add},
	"/content/add/batch":    {"add_batch", true, httpapi.Write, "add", true, objects, (*handler).addBatch},
	"/content/get":          {"get", true, httpapi.Read, "", false, small, (*handler).get},
	"/content/get/batch":    {"get_batch", false, httpapi.Read, "", false, ids, (*handler).getBatch},
	"/content/download_url": {"download_url", false, httpapi.Read, "", false, small, (*handler).downloadURL},
	"/content/check":        {"check", false, httpapi.Read, "", false, small, (*handler).check},
	"/content/delete":       {"delete", false, httpapi.Delete, "delete", false, small, (*handler).delete},
}

var endpointNames = strings.Join(slices.Sorted(maps.Keys(endpoints)), ", ")

// CheckConfig is the path of a call by which clients ask, once at their start, whether the
// server is configured for them. Python's multiplexer takes an error for a no: for as long as
// it runs it leaves the server out of all adds, and reports objects as stored that no server
// has. So this call does not fail because something is unavailable.
const CheckConfig = "/check_config"

func (h *handler) checkConfig(_ context.Context, r *call) (wire.Answer, error) {
	return wire.Bool(!r.CheckWrite || !h.ReadOnly), nil
}

func (h *handler) contains(ctx context.Context, r *call) (wire.Answer, error) {
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	there, err := h.store.Contains(ctx, key)
	return wire.Bool(there), err
}

func (h *handler) get(ctx context.Context, r *call) (wire.Answer, error) {
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	content, err := h.store.Get(ctx, key, r.admit(ctx))
	if err == nil {
		h.Metrics.Out("get", len(content))
	}
	return wire.Content(content), err
}

// getBatch answers null for a damaged object, too, which shall not keep a client from the others. An object that cannot
// be read for any other reason fails the batch: with null a client would take it for missing.
func (h *handler) getBatch(ctx context.Context, r *call) (wire.Answer, error) {
	if r.ObjIDs == nil {
		return nil, missing("obj_ids")
	}
	found, err := h.store.GetBatch(ctx, r.ObjIDs, func(bytes int64) error {
		if limit := r.maxContents(h.Options); bytes > limit {
			return httpapi.Refuse(http.StatusRequestEntityTooLarge,
				"these %d objects have %d bytes, and one answer has at most %d: ask for fewer at once", len(r.ObjIDs), bytes, limit)
		}
		return r.admit(ctx)(bytes)
	})
	if err != nil {
		return nil, err
	}
	contents := make([][]byte, len(found))
	damaged, bytes := 0, int64(0)
	for i, object := range found {
		contents[i] = object.Content
		bytes += int64(len(object.Content))
		switch {
		case object.Err == nil, errors.Is(object.Err, httpapi.ErrNotFound):
		case errors.Is(object.Err, httpapi.ErrCorrupted):
			damaged, err = damaged+1, object.Err
		default:
			return nil, object.Err
		}
	}
	if damaged > 0 {
		h.Log.Error("unreadable objects in a batch answered as null", "id", r.id, "objects", damaged, "err", err)
	}
	h.Metrics.BatchOut("get_batch", bytes)
	return wire.Contents(contents), nil
}

func (h *handler) add(ctx context.Context, r *call) (wire.Answer, error) {
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	if r.Content == nil {
		return nil, missing("content")
	}
	h.Metrics.In("add", len(r.Content))
	objects := []Object{{ID: key, Content: r.Content}}
	if err := h.admit(objects); err != nil {
		return nil, err
	}
	_, _, err = h.store.Add(ctx, objects)
	return wire.Null, err
}

func (h *handler) addBatch(ctx context.Context, r *call) (wire.Answer, error) {
	if r.Contents == nil {
		return nil, missing("contents")
	}
	h.Metrics.BatchIn("add_batch", sizeOf(r.Contents))
	if err := h.admit(r.Contents); err != nil {
		return nil, err
	}
	added, bytes, err := h.store.Add(ctx, r.Contents)
	return wire.Summary{Objects: added, Bytes: bytes}.Answer, err
}

func sizeOf(objects []Object) (bytes int64) {
	for _, o := range objects {
		bytes += int64(len(o.Content))
	}
	return bytes
}

// admit refuses objects that are too large or are not what they are to be stored as.
func (h *handler) admit(objects []Object) error {
	for _, o := range objects {
		if size := int64(len(o.Content)); size > h.MaxObjectSize {
			return httpapi.Refuse(http.StatusRequestEntityTooLarge,
				"the object %x has %d bytes, and at most %d are accepted: raise max_object_size in the server's configuration",
				o.ID, size, h.MaxObjectSize)
		}
		if sum := sha256.Sum256(o.Content); sum != o.ID {
			return httpapi.Refuse(http.StatusBadRequest, "the content to be stored as sha256 %x has sha256 %x: send the content's own hash", o.ID, sum)
		}
	}
	return nil
}

func (h *handler) check(ctx context.Context, r *call) (wire.Answer, error) {
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	content, err := h.store.Get(ctx, key, r.admit(ctx))
	if err != nil {
		return nil, err
	}
	return wire.Null, checkHashes(content, r.ObjID)
}

func (h *handler) delete(ctx context.Context, r *call) (wire.Answer, error) {
	if !h.AllowDelete {
		return nil, httpapi.ErrForbidden
	}
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	return wire.Bool(true), h.store.Delete(ctx, key)
}

func (h *handler) downloadURL(context.Context, *call) (wire.Answer, error) {
	return wire.Null, nil
}

func keyOf(r *call) (key [32]byte, err error) {
	if r.ObjID == nil {
		return key, missing("obj_id")
	}
	key, err = r.ObjID.SHA256()
	if err != nil && !errors.Is(err, wire.ErrNoSHA256) {
		err = httpapi.Refuse(http.StatusBadRequest, "%v", err)
	}
	return key, err
}

func missing(argument string) error {
	return httpapi.Refuse(http.StatusBadRequest, "the request lacks the argument %s", argument)
}
