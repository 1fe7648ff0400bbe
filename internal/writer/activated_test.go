// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

// exiting reports by the process's end.
type exiting struct{}

func (exiting) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

// serveActivated serves until SIGINT.
func serveActivated(dsn string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "winery")
	if err != nil {
		exiting{}.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := configured(exiting{}, dsn, dir)
	o.Config.Winery.Listen = "unix:/nonexistent/unused"
	if err := run(ctx, o, quiet); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
