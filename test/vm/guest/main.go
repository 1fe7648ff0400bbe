// SPDX-License-Identifier: GPL-3.0-or-later

// The test's hand in its virtual machine: forwards loopback ports to the host,
// where the services are, and runs what the test asks for. It is built without
// cgo and started by systemd/vm/vm-guest.service.
//
// usage: vm-guest PORT...
package main

import (
	"fmt"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ports []string) error {
	for _, port := range ports {
		if err := forward(port); err != nil {
			return err
		}
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return err
	}
	return serve()
}
