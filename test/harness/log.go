// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// pollEvery is the interval between two checks of a condition in another process.
const pollEvery = 100 * time.Millisecond

// Records gives the records with this message that a process has logged.
func (p *Process) Records(msg string) ([]map[string]any, error) {
	log, err := os.ReadFile(p.Log)
	if err != nil {
		return nil, err
	}
	var found []map[string]any
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var record map[string]any
		if json.Unmarshal(lines.Bytes(), &record) == nil && record["msg"] == msg {
			found = append(found, record)
		}
	}
	return found, lines.Err()
}

// waitForRecord waits until the process has logged a record with this message.
func (p *Process) waitForRecord(ctx context.Context, msg string) (record map[string]any, err error) {
	err = Until(ctx, func() (bool, error) {
		select {
		case <-p.done:
			return false, fmt.Errorf("%s ended before it logged %q: %w", p.Name, msg, p.Err())
		default:
		}
		records, err := p.Records(msg)
		if len(records) > 0 {
			record = records[0]
		}
		return len(records) > 0, err
	})
	return record, err
}

// Until checks a condition ten times a second until it holds, fails, or ctx ends.
func Until(ctx context.Context, holds func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
