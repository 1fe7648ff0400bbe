// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"

	"winery/test/harness"
)

// tinyName is the name of the shard whose objects are small.
const tinyName = "11111111111111111111111111111111"

// memory measures what a packer needs for a shard of many small objects: 200 bytes each.
func (b *bench) memory(ctx context.Context) error {
	o := harness.Options{ShardMaxSize: 1 << 40}
	f, err := b.fleet(ctx, o)
	if err != nil {
		return err
	}
	_, err = psql(ctx, f.Config.Database.DSN,
		"SET session_replication_role = replica", // no look at the shard for each row
		fmt.Sprintf("INSERT INTO shards (state, name, pool_name) VALUES ('full', '%s', '%s')", tinyName, harness.PoolName),
		fmt.Sprintf("CREATE TABLE shard_%s (LIKE shard_template INCLUDING ALL)", tinyName),
		fmt.Sprintf(`INSERT INTO shard_%s SELECT sha256(content), content
			FROM (SELECT int8send(i) || decode(repeat('00', 192), 'hex') AS content FROM generate_series(1, %d) i) made`, tinyName, b.tinyToPack),
		fmt.Sprintf("INSERT INTO signature2shard SELECT key, 'present', id FROM shard_%s, shards", tinyName))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	full, err := noteSteps(ctx, f, o)
	if err != nil {
		return err
	}
	return b.measure(ctx, row{
		what: fmt.Sprintf("packing %d objects of 200 bytes to a directory", b.tinyToPack), bytes: true,
		ours: b.goPacker(full),
		extra: func() string {
			return fmt.Sprintf("64 MiB and 100 bytes for each object are %d MiB", 64+int64(b.tinyToPack)*100>>20)
		},
	})
}
