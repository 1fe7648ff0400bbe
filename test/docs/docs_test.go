// SPDX-License-Identifier: GPL-3.0-or-later

// Package docs_test compares what the documents say with the code, the programs
// and the units. It needs the programs in bin/ (make build), and no service.
package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, seen from this package.
const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents returns the paths of all Markdown files, relative to root.
func documents(t *testing.T) (paths []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if entry.IsDir() && (path == ".git" || path == ".cache" || path == "bin" || path == "dist") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 10 {
		t.Fatalf("found only the documents %q", paths)
	}
	return paths
}

// section returns the text below a heading of level two, up to the next one.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(read(t, path), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", path, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// rows returns the cells of a section's table rows, without heads and rulers.
func rows(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|---") {
			rows = rows[:max(len(rows)-1, 0)] // the head
		} else if strings.HasPrefix(line, "|") {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noise   = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// anchors returns the anchors that GitHub gives the headings of a document.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		found[strings.ReplaceAll(noise.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return found
}

func TestLinks(t *testing.T) {
	checked := 0
	for _, path := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, path), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			checked++
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: link %s: %v", path, match[1], err)
			} else if anchor != "" && !anchors(read(t, file))[anchor] {
				t.Errorf("%s: link %s: %s has no such heading", path, match[1], file)
			}
		}
	}
	if checked < 10 {
		t.Errorf("found only %d relative links", checked)
	}
}

// code matches what a document quotes as code: a span, or an indented or
// fenced line.
var code = regexp.MustCompile("(?m)`([^`\n]+)`|^(?: {4}|)((?:bin/)?winery(?:ctl|-[a-z-]+) .*)$")

// option matches an option of a command line.
var option = regexp.MustCompile(`(?:^|\s)(--?[a-zA-Z][a-z-]*)`)

// TestCommandLines compares each quoted command line of a program with its
// --help: commands and options must exist.
func TestCommandLines(t *testing.T) {
	checked := 0
	for _, path := range documents(t) {
		if path == "CHANGELOG.md" {
			continue // its older lines have the commands of their time
		}
		for _, match := range code.FindAllStringSubmatch(read(t, path), -1) {
			line := strings.TrimPrefix(match[1]+match[2], "bin/")
			line, _, _ = strings.Cut(line, "  #")
			line, _, _ = strings.Cut(line, " | ")
			fields := strings.Fields(line)
			if len(fields) < 2 || programs(t)[fields[0]] == nil {
				continue
			}
			checked++
			if err := programs(t)[fields[0]].accepts(fields[1:]); err != nil {
				t.Errorf("%s: `%s`: %v", path, line, err)
			}
		}
	}
	if checked < 30 {
		t.Errorf("found only %d command lines", checked)
	}
}

// accepts tells what is wrong with a command line of c, by the options' names
// and the commands' alone: placeholders stand for values.
func (c *command) accepts(args []string) error {
	options := map[string]bool{}
	for at := c; ; {
		for name := range at.options {
			options[name] = true
		}
		i := 0
		for i < len(args) && at.commands[args[i]] == nil && (strings.HasPrefix(args[i], "-") || i > 0 && strings.HasPrefix(args[i-1], "-")) {
			i++
		}
		if i == len(args) || at.commands[args[i]] == nil {
			if i < len(args) && len(at.commands) > 0 {
				return fmt.Errorf("there is no command %q", args[i])
			}
			break
		}
		at = at.commands[args[i]]
		args = append(args[:i:i], args[i+1:]...)
	}
	for _, match := range option.FindAllStringSubmatch(strings.Join(args, " "), -1) {
		if !options[match[1]] {
			return fmt.Errorf("there is no option %s", match[1])
		}
	}
	return nil
}
