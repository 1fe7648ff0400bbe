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
