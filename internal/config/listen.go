// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

const wantAddress = "HOST:PORT or unix:/PATH"

// ParseListen splits an address to listen on, as of winery.listen, into the
// network and address that net.Listen takes. Its error says what it may be.
func ParseListen(listen string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(listen, "unix:"); ok && filepath.IsAbs(path) {
		return "unix", path, nil
	}
	_, port, err := net.SplitHostPort(listen)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", "", fmt.Errorf("found %q, must be %s", listen, wantAddress)
	}
	return "tcp", listen, nil
}

// OnlyLocal reports whether only processes of this host can reach an address that
// net.Listen takes.
func OnlyLocal(network, address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return network == "unix" || host == "localhost" || net.ParseIP(host).IsLoopback()
}

// CheckExposure returns an error if clients of other hosts could connect to an
// address that net.Listen takes, without TLS and an access file, and
// allow_unprotected_network does not say that they may.
func (w *Winery) CheckExposure(network, address string) error {
	if OnlyLocal(network, address) || w.AllowUnprotectedNetwork || w.TLS.Certificate != "" && w.Access != "" {
		return nil
	}
	return fmt.Errorf("found %q, which other hosts can reach: set tls and access in section winery, listen on 127.0.0.1 or a unix socket, "+
		"or set allow_unprotected_network: true", address)
}
