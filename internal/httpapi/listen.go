// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Listen listens on a TCP address or on the path of a unix socket. It replaces a
// socket on which no process listens any more, because its process was killed.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, address)
	if network == "unix" && errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, address) {
		if err := os.Remove(address); err != nil {
			return nil, fmt.Errorf("removing the socket of a stopped process: %w", err)
		}
		return lc.Listen(ctx, network, address)
	}
	return l, err
}

// abandoned reports whether no process listens on a socket.
func abandoned(ctx context.Context, path string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
