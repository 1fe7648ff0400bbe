// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	ceph "github.com/ceph/go-ceph/rbd"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/rbd"
	"winery/test/cephtest"
	"winery/test/expect"
)

// takeoverLimit is well below the half minute that Ceph itself waits for a dead
// client.
const takeoverLimit = 20 * time.Second

func TestKilledWriter(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	pooltest.Kill(t, victimPool+"="+pools.Pool)
	start := time.Now()
	pooltest.AfterKill(t, open(t, settings(pools)), "one")
	if took := time.Since(start); took > takeoverLimit {
		t.Errorf("taking over from the dead took %v", took)
	}
}

// TestStoppedWriter: a process that was stopped in the middle of its writing can
// do nothing when it continues.
func TestStoppedWriter(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	p := open(t, settings(pools))
	goOn := pooltest.Stop(t, victimPool+"="+pools.Pool)
	start := time.Now()
	pooltest.AfterKill(t, p, "one")
	if took := time.Since(start); took > takeoverLimit {
		t.Errorf("taking over from the stopped took %v", took)
	}
	if said := goOn(); !strings.Contains(said, pool.ErrFenced.Error()) {
		t.Errorf("the stopped writer went on and said %q, want ErrFenced", said)
	}
	pooltest.StillThere(t, p, "one")
}

// claimed is a proof until it is lost.
type claimed struct {
	pooltest.Anything
	lost bool
}

func (c *claimed) Verify(context.Context) error {
	if c.lost {
		return errors.New("the lease has expired")
	}
	return nil
}

// TestAbortWithoutTheRight: an image that was written as a whole is visible, and others may
// rely on it once the claim was lost. Who has lost it wipes nothing.
func TestAbortWithoutTheRight(t *testing.T) {
	t.Parallel()
	p, right, want := open(t, settings(cephtest.New(t))), &claimed{}, []byte("all objects of a shard")
	d, err := p.Create(t.Context(), "one", 0, right)
	expect.NoError(t, err)
	_, err = d.WriteAt(want, 0)
	expect.NoError(t, err)
	right.lost = true
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	expect.NoError(t, d.Abort(ended))
	img, err := p.Open(t.Context(), "one")
	expect.NoError(t, err)
	got := make([]byte, len(want))
	_, err = img.ReadAt(got, 0)
	expect.NoError(t, errors.Join(err, img.Close()))
	if !bytes.Equal(got, want) {
		t.Errorf("the image has %q", got)
	}
}

// TestLiveWriter: one that runs, but lost its claim, is fenced as one that
// is dead, for a week, and for all that it does.
func TestLiveWriter(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	old, next := open(t, settings(pools)), open(t, settings(pools))
	d := write(t, old, "one", "old")
	finished := write(t, old, "finished", "image")
	expect.NoError(t, finished.Commit(t.Context()))
	addr := lockedFrom(t, pools.Pool, "one")

	successor := write(t, next, "one", "new")
	before := time.Now()
	if until := exiles(t)[addr]; until.Before(before.Add(7*24*time.Hour-time.Minute)) || until.After(before.Add(7*24*time.Hour+time.Minute)) {
		t.Errorf("%s is blocklisted until %v, want a week", addr, until)
	}
	_, err := d.WriteAt([]byte("late"), 0)
	wantFenced(t, "write", err)
	_, err = d.Open(t.Context())
	wantFenced(t, "read back", err)
	wantFenced(t, "commit", d.Commit(t.Context()))
	_ = d.Abort(t.Context()) // has nothing left to tidy up
	for range 2 {            // no call makes a new connection
		_, err = old.Open(t.Context(), "finished")
		wantFenced(t, "Open", err)
		_, err = old.Create(t.Context(), "two", 0, pooltest.Anything{})
		wantFenced(t, "Create", err)
		_, err = old.List(t.Context())
		wantFenced(t, "List", err)
	}
	expect.NoError(t, successor.Commit(t.Context()))
	wantImage(t, next, "one", "new")
}

var errLost = errors.New("the row is another's")

// TestStalled: a process that stalls anywhere in Create while its successor
// creates the image does that image no harm when it continues.
func TestStalled(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, pools cephtest.Pool, name string) // what it finds
		room   int64
		at     int // number of the proof after which it stalls
	}{
		{name: "before-all", at: 1},
		{name: "before-all-leftover", before: leftover, at: 1},
		{name: "before-removing", before: remains, at: 2},
		{name: "before-wiping", before: leftover, at: 2},
		{name: "before-growing", before: leftover, room: 12 << 20, at: 2},
		{name: "before-writing", at: 2},
	} {
		for _, successor := range []string{"done", "writing"} {
			name := tt.name + "-" + successor
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if tt.before != nil {
					tt.before(t, pools, name)
				}
				slow, next := open(t, settings(pools)), open(t, settings(pools))
				var d pool.Draft
				asked := 0
				stalled, err := slow.Create(t.Context(), name, tt.room, proofFunc(func(context.Context) error {
					switch asked++; {
					case asked == tt.at:
						d = write(t, next, name, "successor")
						if successor == "done" {
							expect.NoError(t, d.Commit(t.Context()))
						}
					case asked > tt.at:
						return errLost
					}
					return nil
				}))
				if err == nil { // Create had nothing to touch
					_, err = stalled.WriteAt([]byte("late"), 0)
					_ = stalled.Abort(t.Context())
				}
				want := pool.ErrFenced
				if tt.at == 1 { // it had no lock yet that it could lose
					want = errLost
				}
				if !errors.Is(err, want) {
					t.Errorf("it went on: got %v, want %v", err, want)
				}
				wantImage(t, open(t, settings(pools)), name, "successor")
				// A process that continues at the worst moment makes its
				// successor lose the draft, but never changes a byte of it.
				_, err = d.WriteAt([]byte("successor"), 0)
				if successor == "writing" && tt.at == 1 {
					wantFenced(t, "the successor", err)
				} else if successor == "writing" {
					expect.NoError(t, err)
				}
				_ = d.Abort(t.Context())
			})
		}
	}
}

// TestStalledRemove: a process that stalls in Remove while its successor replaces the
// image does not remove the new image when it continues.
func TestStalledRemove(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	for at, want := range map[int]error{1: errLost, 2: pool.ErrFenced} { // the number of the proof after which it stalls
		for _, create := range []bool{true, false} {
			name := fmt.Sprintf("stalls-at-%d-creates-%t", at, create)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				leftover(t, pools, name)
				s := settings(pools)
				s.CreateImages = create
				slow, next := open(t, settings(pools)), open(t, s)
				asked := 0
				err := slow.Remove(t.Context(), name, proofFunc(func(context.Context) error {
					switch asked++; {
					case asked == at:
						expect.NoError(t, write(t, next, name, "successor").Commit(t.Context()))
					case asked > at:
						return errLost
					}
					return nil
				}))
				if !errors.Is(err, want) {
					t.Errorf("it went on: got %v, want %v", err, want)
				}
				wantImage(t, next, name, "successor")
			})
		}
	}
}

// leftover makes an image that was given up.
func leftover(t *testing.T, pools cephtest.Pool, name string) {
	t.Helper()
	expect.NoError(t, write(t, open(t, settings(pools)), name, "leftover").Abort(t.Context()))
}

// remains makes what an interrupted creation leaves: an image without its
// header, which librbd makes last.
func remains(t *testing.T, pools cephtest.Pool, name string) {
	t.Helper()
	leftover(t, pools, name)
	ioctx := ioContext(t, pools.Pool)
	image, err := ceph.OpenImageReadOnly(ioctx, name, ceph.NoSnapshot)
	expect.NoError(t, err)
	id, err := image.GetId()
	expect.NoError(t, err)
	expect.NoError(t, image.Close())
	expect.NoError(t, ioctx.Delete("rbd_header."+id))
}

// TestInterruptedCreation: it neither opens nor lets another be made.
func TestInterruptedCreation(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	p := open(t, settings(pools))
	remains(t, pools, "one")
	if _, err := p.Open(t.Context(), "one"); !errors.Is(err, pool.ErrNotFound) {
		t.Fatalf("Open of half an image: got %v, want ErrNotFound", err)
	}
	expect.NoError(t, write(t, p, "one", "new").Commit(t.Context()))
	wantImage(t, p, "one", "new")
	iter, err := ioContext(t, pools.Pool).Iter()
	expect.NoError(t, err)
	defer iter.Close()
	for iter.Next() {
		if strings.HasPrefix(iter.Value(), "winery") {
			t.Errorf("object %s is left", iter.Value())
		}
	}
	expect.NoError(t, iter.Err())
}

// TestInterruptedWipe: as long as an image has its header, it has all the rest. A user
// that may remove the last object alone does not come so far as to remove it.
func TestInterruptedWipe(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	p, ioctx := open(t, settings(pools)), ioContext(t, pools.Pool)
	expect.NoError(t, write(t, p, "one", "finished").Commit(t.Context()))
	image, err := ceph.OpenImageReadOnly(ioctx, "one", ceph.NoSnapshot)
	expect.NoError(t, err)
	id, err := image.GetId()
	expect.NoError(t, errors.Join(err, image.Close()))
	_, err = open(t, withCaps(t, pools, rbd.Caps{Mon: "profile rbd", OSD: fmt.Sprintf(
		"profile rbd pool=%s, allow rx pool=%s, allow rwx pool=%[2]s object_prefix rbd_data.%d.%s.%016x", pools.Pool, pools.DataPool, ioctx.GetPoolID(), id, 2)},
	)).Create(t.Context(), "one", 0, pooltest.Anything{})
	if err == nil || !strings.Contains(err.Error(), "wineryctl ceph caps") {
		t.Fatalf("the user was not refused: %v", err)
	}
	wantImage(t, p, "one", "finished")
}

// TestLockedByHand: an image with a manual lock, by `rbd lock add`, is not
// touched.
func TestLockedByHand(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	p := open(t, settings(pools))
	expect.NoError(t, p.Reserve(t.Context(), "one"))
	image, err := ceph.OpenImage(ioContext(t, pools.Pool), "one", ceph.NoSnapshot)
	expect.NoError(t, err)
	expect.NoError(t, image.LockExclusive("hands off"))
	defer hangsAfter(time.Minute)()
	if _, err := p.Create(t.Context(), "one", 0, pooltest.Anything{}); !errors.Is(err, pool.ErrInUse) || !strings.Contains(err.Error(), "rbd lock ls") {
		t.Errorf("Create: got %v, want ErrInUse and what to do", err)
	}
	if _, err := p.Edit(t.Context(), "one", pooltest.Anything{}); !errors.Is(err, pool.ErrInUse) {
		t.Errorf("Edit: got %v, want ErrInUse", err)
	}
	expect.NoError(t, image.Unlock("hands off"))
	expect.NoError(t, image.Close())
	expect.NoError(t, write(t, p, "one", "text").Commit(t.Context()))
}

// TestOwnerOf: a kernel's lock must not be taken for a process's.
func TestOwnerOf(t *testing.T) {
	t.Parallel()
	for cookie, want := range map[string]string{
		"auto 140247838834688":      "process",
		"auto 18446462598732840961": "kernel",
		"auto":                      "hand",
		"auto x":                    "hand",
		"hands off":                 "hand",
	} {
		if got := rbd.OwnerOf(cookie); got != want {
			t.Errorf("%q: %s, want %s", cookie, got, want)
		}
	}
}

// TestCaps: a user without the right to blocklist gets an error that says so, and
// the other writer is not disturbed.
func TestCaps(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	p := open(t, settings(pools))
	d := write(t, p, "one", "first")
	s := settings(pools)
	user, args := newUser(t, "allow r")
	s.User = user
	said := createElsewhere(t, s, "", args)
	for _, want := range []string{"wineryctl ceph caps", "mon 'profile rbd'"} {
		if !strings.Contains(said, want) {
			t.Errorf("without the cap Create says %q, not %q", said, want)
		}
	}
	_, err := d.WriteAt([]byte("first"), 0)
	expect.NoError(t, err)

	s.User, args = newUser(t, "profile rbd")
	if said := createElsewhere(t, s, "", args); said != "" {
		t.Errorf("with the cap: %s", said)
	}
	_, err = d.WriteAt([]byte("first"), 0)
	wantFenced(t, "write", err)
	_ = d.Abort(t.Context())
}

// write starts an image that begins and ends with text.
func write(t *testing.T, p *rbd.Pool, name, text string) pool.Draft {
	t.Helper()
	d, err := p.Create(t.Context(), name, 0, pooltest.Anything{})
	expect.NoError(t, err)
	for _, off := range []int64{0, d.Size() - int64(len(text))} {
		_, err = d.WriteAt([]byte(text), off)
		expect.NoError(t, err)
	}
	return d
}

// wantImage fails unless an image has nothing but what write wrote.
func wantImage(t *testing.T, p *rbd.Pool, name, text string) {
	t.Helper()
	img, err := p.Open(t.Context(), name)
	expect.NoError(t, err)
	defer img.Close()
	got, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	expect.NoError(t, err)
	if !bytes.HasPrefix(got, []byte(text)) || !bytes.HasSuffix(got, []byte(text)) || len(bytes.Trim(got[len(text):len(got)-len(text)], "\x00")) > 0 {
		t.Errorf("%s does not hold %q, and that alone", name, text)
	}
}

func wantFenced(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, pool.ErrFenced) {
		t.Errorf("%s: got %v, want ErrFenced", what, err)
	}
}

// lockedFrom is the address of the client that has an image's lock.
func lockedFrom(t *testing.T, poolName, name string) string {
	t.Helper()
	image, err := ceph.OpenImageReadOnly(ioContext(t, poolName), name, ceph.NoSnapshot)
	expect.NoError(t, err)
	defer image.Close()
	_, lockers, err := image.ListLockers()
	expect.NoError(t, err)
	if len(lockers) != 1 {
		t.Fatalf("%s has lockers %v, want one", name, lockers)
	}
	return lockers[0].Addr
}

// exiles are the clients that are blocklisted, and until when.
func exiles(t *testing.T) map[string]time.Time {
	t.Helper()
	out := cephtest.Command(t, cephtest.Connect(t), map[string]any{"prefix": "osd blocklist ls", "format": "json"})
	var list []struct{ Addr, Until string }
	expect.NoError(t, json.NewDecoder(bytes.NewReader(out)).Decode(&list)) // newer Cephs have a second list behind it
	until := map[string]time.Time{}
	for _, e := range list {
		at, err := time.Parse("2006-01-02T15:04:05.000000-0700", e.Until)
		expect.NoError(t, err)
		until[e.Addr] = at
	}
	return until
}

// proofFunc is a proof that is verified by a function.
type proofFunc func(context.Context) error

func (f proofFunc) Verify(ctx context.Context) error { return f(ctx) }

func (f proofFunc) MayReplace(context.Context, io.ReaderAt, int64) error { return nil }
