// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// profile takes a row's measurement once more, which does not count, and writes a CPU
// profile of the server meanwhile into the folder of the profiles.
func (b *bench) profile(ctx context.Context, r *row) error {
	if b.profiles == "" || r.server == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := r.ours(ctx)
		done <- err
	}()
	status, profile, err := r.server.process.Ask(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%.0f", math.Ceil(b.time.Seconds())))
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %s", status, profile)
	}
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	name := strings.NewReplacer(" ", "-", ",", "", "%", "percent").Replace(r.what) + ".pprof"
	return os.WriteFile(filepath.Join(b.profiles, name), []byte(profile), 0o600)
}
