// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Services are a private PostgreSQL and, on request, a private Ceph.
type Services struct {
	DSN      string // of a database that exists and is empty
	CephConf string // path of ceph.conf; empty without a Ceph
	Postgres string // the folder of scripts/pg-up
	Ceph     string // the folder of scripts/ceph-up

	scripts string
	stop    []string // the scripts that end what was started, each with its folder
}

// StartServices starts them below dir, by the scripts in the folder scripts.
// Stop must be called, also after an error.
func StartServices(ctx context.Context, scripts, dir string, ceph bool) (*Services, error) {
	s := &Services{scripts: scripts, Postgres: filepath.Join(dir, "pg"), Ceph: filepath.Join(dir, "ceph")}
	s.stop = []string{"pg-down", s.Postgres}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		s.DSN, err = s.run(ctx, "pg-up", s.Postgres)
		return err
	})
	if ceph {
		s.stop = append(s.stop, "ceph-down", s.Ceph)
		g.Go(func() (err error) {
			s.CephConf, err = s.run(ctx, "ceph-up", s.Ceph)
			return err
		})
	}
	return s, g.Wait()
}

// Stop ends what was started and removes its folders.
func (s *Services) Stop() error {
	var errs []error
	for i := 0; i < len(s.stop); i += 2 {
		_, err := s.run(context.Background(), s.stop[i], s.stop[i+1])
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// RestartPostgres starts PostgreSQL again, as after a power cut: it is stopped
// in the middle of what it does, if it is up.
func (s *Services) RestartPostgres(ctx context.Context) error {
	_, err := s.run(ctx, "pg-restart", s.Postgres)
	return err
}

// run gives the last line that a script printed.
func (s *Services) run(ctx context.Context, script string, args ...string) (string, error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(s.scripts, script), args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", script, err, errOut.Bytes())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[len(lines)-1], nil
}

// CephStored is how many bytes of data the Ceph holds, before replication; 0
// without a Ceph.
func (s *Services) CephStored(ctx context.Context) (int64, error) {
	if s.CephConf == "" {
		return 0, nil
	}
	out, err := exec.CommandContext(ctx, "ceph", "--conf", s.CephConf, "df", "--format", "json").Output()
	if err != nil {
		return 0, fmt.Errorf("ceph df: %w", err)
	}
	var df struct {
		Pools []struct {
			Stats struct {
				Stored int64 `json:"stored"`
			} `json:"stats"`
		} `json:"pools"`
	}
	if err := json.Unmarshal(out, &df); err != nil {
		return 0, fmt.Errorf("ceph df: %w", err)
	}
	var stored int64
	for _, p := range df.Pools {
		stored += p.Stats.Stored
	}
	return stored, nil
}
