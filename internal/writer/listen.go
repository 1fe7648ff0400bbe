// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"winery/internal/config"
	"winery/internal/httpapi"
)

// sockets returns those that the service manager opened for this process, or
// else one that listens on w.Listen. None of them is open to other hosts unless w
// protects it. passed reports whether the service manager keeps them open.
func sockets(ctx context.Context, w config.Winery, log *slog.Logger) (listeners []net.Listener, passed bool, err error) {
	if listeners, err = passedSockets(w, log); err != nil || len(listeners) > 0 {
		return listeners, true, err
	}
	network, address, err := config.ParseListen(w.Listen)
	if err == nil {
		err = w.CheckExposure(network, address)
	}
	if err != nil {
		return nil, false, &config.Error{Key: "winery.listen", Msg: err.Error()}
	}
	l, err := httpapi.Listen(ctx, network, address)
	if err != nil {
		return nil, false, fmt.Errorf("winery.listen: %w", err)
	}
	return []net.Listener{l}, false, nil
}

func passedSockets(w config.Winery, log *slog.Logger) ([]net.Listener, error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	_, configured, err := config.ParseListen(w.Listen)
	unused := len(listeners) > 0 && err == nil
	for _, l := range listeners {
		if l == nil {
			return nil, errors.New("a socket of the service manager is not a stream socket")
		}
		if err := w.CheckExposure(l.Addr().Network(), l.Addr().String()); err != nil {
			return nil, &config.Error{Key: "winery", Msg: "a socket of the service manager: " + err.Error()}
		}
		unused = unused && l.Addr().String() != configured
	}
	if unused {
		log.Warn("winery.listen is not used: the service manager passed other sockets, of winery-writer.socket", "listen", w.Listen)
	}
	return listeners, nil
}
