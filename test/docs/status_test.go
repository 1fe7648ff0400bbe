// SPDX-License-Identifier: GPL-3.0-or-later

package docs_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"winery/internal/doctor"
	"winery/internal/status"
)

// TestReportMembers compares the members of the JSON of wineryctl status and doctor with the
// tables of docs/json.md.
func TestReportMembers(t *testing.T) {
	for command, report := range map[string]reflect.Type{"status": reflect.TypeFor[status.Report](), "doctor": reflect.TypeFor[doctor.Report]()} {
		var documented []string
		for _, row := range rows(section(t, "docs/json.md", command)) {
			for _, name := range strings.Split(row[0], ", ") {
				documented = append(documented, strings.Trim(name, "`"))
			}
		}
		slices.Sort(documented)
		if code := members(report, ""); !slices.Equal(code, documented) {
			t.Errorf("%s: members of the code:\n%q\nof the document:\n%q", command, code, documented)
		}
	}
}

// TestChecks compares the checks of wineryctl doctor with the table of docs/operations.md.
func TestChecks(t *testing.T) {
	var code, documented []string
	for _, match := range regexp.MustCompile(`\{"([a-z_]+)", (?:""|c\.Name), `).FindAllStringSubmatch(read(t, "internal/doctor/doctor.go"), -1) {
		code = append(code, strings.ReplaceAll(match[1], "_", " "))
	}
	for _, row := range rows(section(t, "docs/operations.md", "Before the roles start")) {
		documented = append(documented, strings.Split(row[0], ", ")...)
	}
	if len(code) < 10 || !slices.Equal(code, documented) {
		t.Errorf("checks of the code: %q, of the document: %q", code, documented)
	}
}

// members returns the paths of the members of t's JSON, in ascending order.
func members(t reflect.Type, prefix string) (paths []string) {
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		of, path := field.Type, prefix+name
		if of.Kind() == reflect.Slice {
			of, path = of.Elem(), path+"[]"
		}
		if of.Kind() == reflect.Struct && of != reflect.TypeFor[time.Time]() {
			paths = append(paths, members(of, path+".")...)
		} else {
			paths = append(paths, prefix+name)
		}
	}
	slices.Sort(paths)
	return paths
}

// TestStatusCodes compares the codes of package status with the table of
// docs/operations.md.
func TestStatusCodes(t *testing.T) {
	var code, documented []string
	for _, match := range regexp.MustCompile(`Code = "([A-Z]\d{3})"`).FindAllStringSubmatch(read(t, "internal/status/code.go"), -1) {
		code = append(code, match[1])
	}
	for _, row := range rows(section(t, "docs/operations.md", "When something is wrong")) {
		documented = append(documented, row[0])
	}
	if len(code) < 10 || !slices.Equal(code, documented) {
		t.Errorf("codes of the code: %q, of the document: %q", code, documented)
	}
}
