// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"os"
	"os/exec"
)

// port is the machine's end of the test's connection.
const port = "/dev/virtio-ports/test"

// serve runs the scripts that the test sends, one at a time, and answers each
// with what it printed and its exit status: JSON strings one way, JSON objects
// the other. A test that has gone takes the machine with it.
func serve() error {
	conn, err := os.OpenFile(port, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	scripts, answers := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var script string
		if err := scripts.Decode(&script); err != nil {
			return exec.Command("systemctl", "poweroff", "--force", "--force").Run()
		}
		var answer struct {
			Output string
			Status int
		}
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
		out, err := cmd.CombinedOutput()
		answer.Output, answer.Status = string(out), cmd.ProcessState.ExitCode()
		if answer.Status < 0 { // never started, or killed
			answer.Output += err.Error()
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}
