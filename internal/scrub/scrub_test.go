// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"winery/internal/pace"
	"winery/internal/scrub"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

var none sharedbase.ObjID

// Each bit that is flipped in an image is found, and its object named.
func TestFindsFlippedBits(t *testing.T) {
	roletest.EachStore(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 20_000)
		name := readonly(t, s, objects)
		finds(t, s, name)
		id := objects[100].ID
		entry, position := at(t, s, name, id)
		info := s.SWHShard(t, name).Layout()
		for what, test := range map[string]struct {
			at   int64
			want finding
		}{
			"content":         {position + 8, finding{scrub.ObjectDamaged, id}},
			"length":          {position + 7, finding{scrub.ObjectDamaged, id}},
			"length, far off": {position, finding{scrub.ObjectDamaged, id}},
			"key":             {entry + 9, finding{scrub.NotInImage, id}},
			"position":        {entry + 39, finding{scrub.ObjectDamaged, id}},
			"position, far":   {entry + 33, finding{scrub.NotInImage, id}},
			"magic":           {3, finding{scrub.HeadDamaged, none}},
			"objects":         {47, finding{scrub.HeadDamaged, none}},
			"an index size":   {78, finding{scrub.HeadDamaged, none}},
			"a hash's prefix": {info.HashPosition + 3, finding{scrub.HeadDamaged, none}},
		} {
			t.Run(what, func(t *testing.T) {
				if what == "objects" { // the header is whole, and another
					test.want = finding{scrub.RecordDiffers, none}
				}
				s.FlipBit(t, name, test.at)
				r, err := scrubber(s).Scrub(t.Context(), name)
				expect.NoError(t, err)
				if what == "objects" {
					r.Findings = r.Findings[:1] // the count of gaps is wrong, too
				}
				wantFindings(t, r, test.want)
				s.FlipBit(t, name, test.at)
			})
		}
		finds(t, s, name)
	})
}

// What index, image and table have more or less than one another.
func TestFindsDifferences(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 5000)
	name := packed(t, s, objects)
	finds(t, s, name)
	id, missing := objects[5].ID, roletest.Objects(2, 2, 100)[1].ID
	shard := s.Shard(t, name).ID
	for _, test := range []struct {
		what     string
		do, undo string // %[1]x: an object, %[2]x: one that is nowhere, %[3]d: the shard, %[4]s: its name
		want     []finding
	}{
		{
			"row lost",
			"DELETE FROM signature2shard WHERE signature = '\\x%[1]x'",
			"INSERT INTO signature2shard VALUES ('\\x%[1]x', 'present', %[3]d)",
			[]finding{{scrub.NotErased, id}},
		},
		{
			"row too many",
			"INSERT INTO signature2shard VALUES ('\\x%[2]x', 'present', %[3]d)",
			"DELETE FROM signature2shard WHERE signature = '\\x%[2]x'",
			[]finding{{scrub.NotInTable, missing}, {scrub.NotInImage, missing}},
		},
		{
			"to be erased",
			"UPDATE signature2shard SET state = 'deleted' WHERE signature = '\\x%[1]x'",
			"UPDATE signature2shard SET state = 'present' WHERE signature = '\\x%[1]x'", nil,
		},
		{
			"noted to be erased",
			"DELETE FROM signature2shard WHERE signature = '\\x%[1]x'; INSERT INTO winery_erasure VALUES (%[3]d, '\\x%[1]x')",
			"DELETE FROM winery_erasure; INSERT INTO signature2shard VALUES ('\\x%[1]x', 'present', %[3]d)", nil,
		},
		{
			"in another shard",
			"INSERT INTO shards (name, state, pool_name) VALUES ('another', 'standby', 'files');" +
				"UPDATE signature2shard SET shard = lastval() WHERE signature = '\\x%[1]x'",
			"UPDATE signature2shard SET shard = %[3]d WHERE signature = '\\x%[1]x'", nil,
		},
		{
			"deleted in another shard",
			"UPDATE signature2shard SET state = 'deleted', shard = (SELECT id FROM shards WHERE name = 'another') WHERE signature = '\\x%[1]x'",
			"UPDATE signature2shard SET state = 'present', shard = %[3]d WHERE signature = '\\x%[1]x'; DELETE FROM winery_erasure",
			[]finding{{scrub.NotErased, id}},
		},
		{
			"table row damaged",
			"UPDATE shard_%[4]s SET content = content || '\\x00' WHERE key = '\\x%[1]x'",
			"UPDATE shard_%[4]s SET content = substring(content FOR octet_length(content) - 1) WHERE key = '\\x%[1]x'",
			[]finding{{scrub.RowDamaged, id}},
		},
		{
			"table row lost",
			"CREATE TABLE kept AS SELECT * FROM shard_%[4]s WHERE key = '\\x%[1]x'; DELETE FROM shard_%[4]s WHERE key = '\\x%[1]x'",
			"INSERT INTO shard_%[4]s SELECT * FROM kept",
			[]finding{{scrub.NotInTable, id}},
		},
		{
			"another image recorded",
			"UPDATE winery_image SET objects = objects + 1 WHERE shard = %[3]d", "UPDATE winery_image SET objects = objects - 1 WHERE shard = %[3]d",
			[]finding{{scrub.RecordDiffers, none}},
		},
	} {
		t.Run(test.what, func(t *testing.T) {
			psql(t, s, fmt.Sprintf(test.do, id, missing, shard, name))
			finds(t, s, name, test.want...)
			psql(t, s, fmt.Sprintf(test.undo, id, missing, shard, name))
			finds(t, s, name)
		})
	}
	expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{}))
	finds(t, s, name, finding{scrub.ImageMissing, none})
}

// Shards without an image have their table compared.
func TestTables(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 250, 5000)
	name := s.Full(t, objects)
	r, err := scrubber(s).Scrub(t.Context(), name)
	expect.NoError(t, err)
	if r.Objects != 250 || r.Bytes < 250*100 {
		t.Errorf("%+v", r)
	}
	psql(t, s, fmt.Sprintf("UPDATE shard_%s SET content = NULL WHERE key = '\\x%x'", name, objects[9].ID))
	finds(t, s, name, finding{scrub.RowDamaged, objects[9].ID})
}

func TestSample(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 5000)
	name := readonly(t, s, objects)
	sampler := scrubber(s)
	sampler.Sample = 10
	r, err := sampler.Scrub(t.Context(), name)
	expect.NoError(t, err)
	wantFindings(t, r)
	if r.Objects <= 10 || r.Objects > 20 { // ten of the image, and ten of the index
		t.Errorf("checked %d objects", r.Objects)
	}
	sampler.Sample = 1000
	if r, err = sampler.Scrub(t.Context(), name); err != nil || r.Objects != 300 {
		t.Errorf("checked %d of 300 objects, %v", r.Objects, err)
	}
	sampler.Sample = 10
	for _, o := range objects {
		_, position := at(t, s, name, o.ID)
		s.FlipBit(t, name, position+6)
	}
	if r, err = sampler.Scrub(t.Context(), name); err != nil || len(r.Findings) < 10 {
		t.Errorf("%d findings, %v", len(r.Findings), err)
	}
	s.FlipBit(t, name, 3)
	if r, err = sampler.Scrub(t.Context(), name); err != nil || r.Findings[0].Kind != scrub.HeadDamaged {
		t.Errorf("%+v, %v", r, err)
	}
}

// A scrub reads no faster than it may, and ends with its context.
func TestRate(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := readonly(t, s, roletest.Objects(1, 300, 50_000))
	slow := scrubber(s)
	slow.Rate = pace.NewRate(4 << 20)
	start := time.Now()
	r, err := slow.Scrub(t.Context(), name)
	expect.NoError(t, err)
	// The first 4 MiB are free.
	if minTime := time.Duration(float64(r.Bytes-4<<20) / (4 << 20) * float64(time.Second)); time.Since(start) < minTime {
		t.Errorf("%d bytes in %v", r.Bytes, time.Since(start))
	}
	slow.Rate = pace.NewRate(1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer time.AfterFunc(10*time.Millisecond, cancel).Stop()
	if _, err := slow.Scrub(ctx, name); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
