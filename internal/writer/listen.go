// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"winery/internal/config"
	"winery/internal/httpapi"
)

// sockets returns those that the service manager opened for this process, or
// else one that listens on w.Listen. None of them is open to other hosts unless w
// protects it.
func sockets(ctx context.Context, w config.Winery) ([]net.Listener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	var listeners []net.Listener
	for _, l := range passed {
		if l == nil {
			return nil, errors.New("a socket of the service manager is not a stream socket")
		}
		if err := w.CheckExposure(l.Addr().Network(), l.Addr().String()); err != nil {
			return nil, &config.Error{Key: "winery", Msg: "a socket of the service manager: " + err.Error()}
		}
		listeners = append(listeners, l)
	}
	if len(listeners) > 0 {
		return listeners, nil
	}
	network, address, err := config.ParseListen(w.Listen)
	if err == nil {
		err = w.CheckExposure(network, address)
	}
	if err != nil {
		return nil, &config.Error{Key: "winery.listen", Msg: err.Error()}
	}
	l, err := httpapi.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("winery.listen: %w", err)
	}
	return []net.Listener{l}, nil
}
