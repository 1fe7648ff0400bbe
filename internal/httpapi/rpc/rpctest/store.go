// SPDX-License-Identifier: GPL-3.0-or-later

// Package rpctest has a store in memory, to test the HTTP front and its clients without a database.
package rpctest

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
)

// Store is an rpc.Store and an objects.Store in memory. Its zero value is empty and ready.
type Store struct {
	mu      sync.Mutex
	objects map[[32]byte][]byte
	err     error
	hook    func(context.Context) error
}

// Fail makes every call fail with err, until Fail(nil).
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Before runs hook at the begin of every call; an error of it is the call's.
func (s *Store) Before(hook func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Put stores content under any key, also a wrong one.
func (s *Store) Put(key [32]byte, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = map[[32]byte][]byte{}
	}
	s.objects[key] = append([]byte{}, content...)
}

// Len is the number of objects.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.objects)
}

func (s *Store) begin(ctx context.Context) error {
	s.mu.Lock()
	err, hook := s.err, s.hook
	s.mu.Unlock()
	if err == nil && hook != nil {
		err = hook(ctx)
	}
	return err
}

func (s *Store) content(key [32]byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key]
}

// Contains implements rpc.Store.
func (s *Store) Contains(ctx context.Context, key [32]byte) (bool, error) {
	return s.content(key) != nil, s.begin(ctx)
}

// Get implements rpc.Store and objects.Store.
func (s *Store) Get(ctx context.Context, key [32]byte, admit rpc.Admit) ([]byte, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	content := s.content(key)
	if content == nil {
		return nil, httpapi.ErrNotFound
	}
	if err := admit(int64(len(content))); err != nil {
		return nil, err
	}
	return content, nil
}

// Size implements objects.Store.
func (s *Store) Size(ctx context.Context, key [32]byte) (int64, error) {
	content, err := s.Get(ctx, key, all)
	return int64(len(content)), err
}

// all admits everything.
func all(int64) error { return nil }

// GetBatch implements rpc.Store.
func (s *Store) GetBatch(ctx context.Context, keys [][32]byte, admit rpc.Admit) ([]rpc.Found, error) {
	found, total := make([]rpc.Found, len(keys)), int64(0)
	for i, key := range keys {
		found[i].Content = s.content(key)
		if found[i].Content == nil {
			found[i].Err = httpapi.ErrNotFound
		}
		total += int64(len(found[i].Content))
	}
	if err := admit(total); err != nil {
		return nil, err
	}
	return found, s.begin(ctx)
}

// Add implements rpc.Store.
func (s *Store) Add(ctx context.Context, objects []rpc.Object) (added int, size int64, err error) {
	if err := s.begin(ctx); err != nil {
		return 0, 0, err
	}
	for _, o := range objects {
		if s.content(o.ID) == nil {
			s.Put(o.ID, o.Content)
			added++
			size += int64(len(o.Content))
		}
	}
	return added, size, nil
}

// Delete implements rpc.Store.
func (s *Store) Delete(ctx context.Context, key [32]byte) error {
	if _, err := s.Get(ctx, key, all); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}

// List implements objects.Store.
func (s *Store) List(ctx context.Context, after [32]byte, limit int) ([][32]byte, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids [][32]byte
	for id := range s.objects {
		if bytes.Compare(id[:], after[:]) > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	return ids[:min(limit, len(ids))], nil
}
