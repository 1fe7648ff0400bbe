// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/pgtest"
)

// writerOn starts a writer of a fleet of its own and gives its URL.
func writerOn(ctx context.Context, t *testing.T, o harness.Options) (*harness.Fleet, string) {
	t.Helper()
	f := fleettest.New(t, o)
	if _, err := f.StartWriter(ctx); err != nil {
		t.Fatal(err)
	}
	return f, f.URL
}

// sibling are options of a fleet on the same database, with a folder of its own.
func sibling(t *testing.T, o harness.Options) harness.Options {
	o.Images, o.Dir = o.Dir, t.TempDir()
	return o
}

// cutOff starts a writer, which refuses deletions, and makes its database
// unavailable until the end of the test.
func cutOff(ctx context.Context, t *testing.T) string {
	t.Helper()
	o := fleettest.Options(t)
	o.NoDelete, o.ShardMaxSize = true, 1<<20
	_, at := writerOn(ctx, t, o)
	u, err := url.Parse(o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	server := os.Getenv(pgtest.Env)
	t.Cleanup(func() { sql(context.Background(), t, server, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS true") })
	sql(ctx, t, server, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
	sql(ctx, t, server, fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", name))
	return at
}

var damaged, other = []byte("damaged"), []byte("Damaged")

// damageTable stores an object and changes it in its shard's table.
func damageTable(ctx context.Context, t *testing.T, f *harness.Fleet, dsn string) {
	t.Helper()
	id := sha256.Sum256(damaged)
	if err := f.Client.Add(ctx, id, damaged); err != nil {
		t.Fatal(err)
	}
	sql(ctx, t, dsn, fmt.Sprintf(`UPDATE shard_%s SET content = '%s' WHERE key = '\x%x'`, at(ctx, t, f, id).Shard, other, id))
}

// damageImage stores an object, has it packed, and changes it in its image.
func damageImage(ctx context.Context, t *testing.T, f *harness.Fleet, _ string) {
	t.Helper()
	id := sha256.Sum256(damaged)
	filler := make([]byte, 1<<20)
	if err := f.Client.Add(ctx, id, damaged); err != nil {
		t.Fatal(err)
	}
	if err := f.Client.Add(ctx, sha256.Sum256(filler), filler); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		fleettest.RunToEnd(ctx, t, f, role)
	}
	where := at(ctx, t, f, id)
	if where.State != sharedbase.StateReadOnly {
		t.Fatalf("shard %s is %s", where.Shard, where.State)
	}
	path := filepath.Join(filepath.Dir(f.File), harness.PoolName, where.Shard)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(image, damaged) != 1 {
		t.Fatalf("the object is %d times in its image", bytes.Count(image, damaged))
	}
	// In place and with the mode that it has: it is mapped.
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(image, damaged, other, 1), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
}

// at tells where an object is.
func at(ctx context.Context, t *testing.T, f *harness.Fleet, id [32]byte) sharedbase.Location {
	t.Helper()
	l, err := f.Base.Locate(ctx, [][32]byte{id})
	if err != nil {
		t.Fatal(err)
	}
	return l[0]
}

// The same conversation as in internal/httpapi/rpc, with real writers over real
// databases and images.
func TestRemoteObjStorage(t *testing.T) {
	for encoding, damage := range map[string]func(context.Context, *testing.T, *harness.Fleet, string){
		"msgpack": damageTable, "json": damageImage,
	} {
		t.Run(encoding, func(t *testing.T) {
			ctx := fleettest.Within(t)
			o := fleettest.Options(t)
			o.ShardMaxSize = 1 << 20
			f, all := writerOn(ctx, t, o)
			damage(ctx, t, f, o.DSN)
			readOnly := sibling(t, o)
			readOnly.ReadOnly, readOnly.NoDelete = true, true
			_, readOnlyURL := writerOn(ctx, t, readOnly)
			out := python(ctx, t, "../../internal/httpapi/rpc/testdata/conformance.py", encoding, all, readOnlyURL, cutOff(ctx, t))
			lines := strings.Split(out, "\n")
			objects, err := f.Base.ListObjects(ctx, [32]byte{}, 10000)
			if err != nil {
				t.Fatal(err)
			}
			paired(t, "HTTP: Python RemoteObjStorage → winery-writer, %s: %s, %d objects, %d checks",
				encoding, lines[len(lines)-1], len(objects), len(lines)-1)
		})
	}
}

// TestGenericSuite runs the tests that swh.objstorage ships for any object
// storage. testdata/test_remote.py says which are left out, and why.
func TestGenericSuite(t *testing.T) {
	ctx := fleettest.Within(t)
	o := fleettest.Options(t)
	o.ShardMaxSize = 1 << 20
	_, all := writerOn(ctx, t, o)
	noDelete := sibling(t, o)
	noDelete.NoDelete = true
	_, noDeleteURL := writerOn(ctx, t, noDelete)
	out := python(ctx, t, "testdata/test_remote.py", all, noDeleteURL)
	t.Logf("%s", out)
	counts := regexp.MustCompile(`(\d+) passed, (\d+) skipped in `).FindStringSubmatch(out)
	if counts == nil || counts[2] != "2" {
		t.Fatal("another number of tests is left out than the 2 that test_remote.py names")
	}
	paired(t, "HTTP: Python's generic suite on RemoteObjStorage → winery-writer: %s tests pass, %s left out", counts[1], counts[2])
}
