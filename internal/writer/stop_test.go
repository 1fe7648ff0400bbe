// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"winery/test/expect"
)

// TestTimeToStop: systemd kills no writer that is within the limits of its shutdown.
func TestTimeToStop(t *testing.T) {
	unit, err := os.ReadFile("../../systemd/winery-writer.service")
	expect.NoError(t, err)
	seconds, err := strconv.Atoi(regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(string(unit))[1])
	expect.NoError(t, err)
	if limit := time.Duration(seconds) * time.Second; stopping+10*time.Second > limit {
		t.Errorf("TimeoutStopSec is %v: a shutdown may need %v, and some time for what has no limit", limit, stopping)
	}
}
