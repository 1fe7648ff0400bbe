// SPDX-License-Identifier: GPL-3.0-or-later

package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestQuarantineReasons: each reason for a quarantine that operations.md quotes is a
// text of the code.
func TestQuarantineReasons(t *testing.T) {
	source := ""
	for _, dir := range []string{"sharedbase", "format", "internal/packer", "internal/cleaner", "internal/containment", "pool/s3"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source += string(text)
		}
	}
	quoted := 0
	for _, row := range rows(section(t, "docs/operations.md", "Verify and repair")) {
		if len(row) != 4 {
			continue // of another table
		}
		for _, phrase := range code.FindAllStringSubmatch(row[1], -1) {
			quoted++
			if !strings.Contains(source, phrase[1]) {
				t.Errorf("no quarantine has the reason %q", phrase[1])
			}
		}
	}
	if quoted < 5 {
		t.Errorf("found only %d reasons", quoted)
	}
}
