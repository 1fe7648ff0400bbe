// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// grace is the time that a command has to end after a signal.
const grace = 10 * time.Second

// rbd runs the rbd command. One that hangs is ended when the time is up; one
// that hangs inside the kernel, where no signal reaches it, is left behind.
func (k *kernel) rbd(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, k.limit, fmt.Errorf("not finished after %v; are all monitors and OSDs up?", k.limit))
	defer cancel()
	argv := append(slices.Clone(k.command), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // no shell; names are checked
	// sudo hands SIGTERM on to the command, and cannot do so with SIGKILL.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = grace
	ended := make(chan error, 1)
	go func() {
		output, err := cmd.CombinedOutput()
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			err = &commandError{strings.Join(argv, " "), strings.TrimSpace(string(output)), err}
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(k.limit + 2*grace):
		return &commandError{strings.Join(argv, " "), "the command hangs in the kernel and cannot be killed", context.Cause(ctx)}
	}
}

// commandError is a failed command. The rbd command exits with an error number
// as its status.
type commandError struct {
	command, output string
	err             error
}

func (e *commandError) Error() string { return fmt.Sprintf("%s: %v: %s", e.command, e.err, e.output) }

func (e *commandError) Unwrap() error { return e.err }

// ErrorCode gives errno the status; 1, sudo's and the shell's, means nothing.
func (e *commandError) ErrorCode() int {
	var exit *exec.ExitError
	if errors.As(e.err, &exit) && exit.ExitCode() > 1 {
		return exit.ExitCode()
	}
	return 0
}
