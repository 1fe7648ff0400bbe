// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"winery/test/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(s3test.Tests{M: m}) }

// python runs the interpreter that has the Python Winery, and gives what it
// printed, trimmed.
func python(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	interpreter := os.Getenv("WINERY_PYTHON")
	if interpreter == "" {
		t.Fatal("WINERY_PYTHON must name a Python with the packages of scripts/python-venv: `make interop` and `make test` set it")
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, interpreter, args...)
	// The libpq inside psycopg's binary packages puts words into DSNs that an
	// older psql, which swh.core runs, does not know.
	cmd.Env = append(os.Environ(), "PSYCOPG_IMPL=python", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("python %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// sql runs one statement.
func sql(ctx context.Context, t *testing.T, dsn, statement string) {
	t.Helper()
	python(ctx, t, "-c", "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])", dsn, statement)
}

// paired logs a pairing that was proven, in the form that `make interop` looks
// for.
func paired(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("interop: "+format, args...)
}
