// SPDX-License-Identifier: GPL-3.0-or-later

package docs_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// command is what --help says of a program, or of a command of it.
type command struct {
	path     []string // the program, then the commands
	commands map[string]*command
	options  map[string]string // the printed default, "" for none
}

var (
	commandLine = regexp.MustCompile(`^   ([a-z][a-z-]*)  +\S`)
	optionLine  = regexp.MustCompile(`^   (-.*?)(?:  |$)`)
	optionName  = regexp.MustCompile(`--?[a-zA-Z][a-z-]*`)
	defaultText = regexp.MustCompile(`\(default: ("[^"]*"|[^ )]+)\)`)
)

var (
	once  sync.Once
	known map[string]*command
)

// programs returns the commands of all programs in bin/, by the programs' names.
func programs(t *testing.T) map[string]*command {
	t.Helper()
	once.Do(func() {
		known = map[string]*command{}
		for _, name := range []string{"winery-writer", "winery-packer", "winery-rbd-mapper", "winery-cleaner", "wineryctl"} {
			known[name] = ask(t, []string{name})
		}
	})
	return known
}

// run runs a program of bin/ and returns what it printed.
func run(path []string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(root, "bin", path[0]), append(path[1:len(path):len(path)], args...)...)
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func ask(t *testing.T, path []string) *command {
	t.Helper()
	help, err := run(path, "--help")
	if err != nil {
		t.Fatalf("%q --help: %v: %s (run make build first)", path, err, help)
	}
	c := &command{path: path, commands: map[string]*command{}, options: map[string]string{}}
	part := ""
	for line := range strings.Lines(help) {
		if !strings.HasPrefix(line, " ") {
			part = strings.TrimSpace(line)
		}
		if match := commandLine.FindStringSubmatch(line); part == "COMMANDS:" && match != nil {
			c.commands[match[1]] = ask(t, append(path[:len(path):len(path)], match[1]))
		}
		if match := optionLine.FindStringSubmatch(line); strings.HasSuffix(part, "OPTIONS:") && match != nil {
			value := ""
			if found := defaultText.FindStringSubmatch(line); found != nil {
				value = strings.Trim(found[1], `"`)
			}
			for _, name := range optionName.FindAllString(match[1], -1) {
				c.options[name] = value
			}
		}
	}
	return c
}

// TestDefaults gives each option the default that --help prints for it. Help
// that follows stops the program before it does anything.
func TestDefaults(t *testing.T) {
	checked := 0
	var check func(c *command)
	check = func(c *command) {
		for name, value := range c.options {
			if value == "" || value == "shards_active_pool" || value == "winery.listen" {
				continue // none, or a key of the configuration
			}
			checked++
			if out, err := run(c.path, name+"="+value, "--help"); err != nil {
				t.Errorf("%q %s=%s: %v: %s", c.path, name, value, err, out)
			}
		}
		for _, sub := range c.commands {
			check(sub)
		}
	}
	for _, c := range programs(t) {
		check(c)
	}
	if checked < 20 {
		t.Errorf("found only %d defaults", checked)
	}
}
