// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner_test

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"winery/internal/cleaner"
	"winery/internal/packer"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// BenchmarkErase erases half of the objects of one image.
func BenchmarkErase(b *testing.B) {
	const deleted = 10_000
	for kind, config := range map[string]func(testing.TB) *roletest.Stage{
		"directory": func(b testing.TB) *roletest.Stage {
			c := roletest.Directory(b, "")
			c.ShardMaxSize = 64 << 20
			return roletest.New(b, c)
		},
		"rbd": func(b testing.TB) *roletest.Stage {
			c := roletest.RBD(b)
			c.ShardMaxSize = 64 << 20
			return roletest.New(b, c)
		},
	} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s := config(b)
				objects := make([]sharedbase.Object, 2*deleted)
				for i := range objects {
					content := binary.BigEndian.AppendUint64(make([]byte, 100), uint64(i))
					objects[i] = sharedbase.Object{ID: sha256.Sum256(content), Content: content}
				}
				s.Full(b, objects)
				_, err := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step(b.Context())
				expect.NoError(b, err)
				pgtest.Exec(b, s.DSN, `UPDATE signature2shard SET state = 'deleted'
					WHERE signature IN (SELECT signature FROM signature2shard ORDER BY signature LIMIT $1)`, deleted)
				b.StartTimer()
				erased, err := cleaner.New(cleaner.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).EraseDeleted(b.Context())
				if erased != deleted || err != nil {
					b.Fatal(erased, err)
				}
			}
			b.ReportMetric(float64(b.N)*deleted/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
