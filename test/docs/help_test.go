// SPDX-License-Identifier: GPL-3.0-or-later

package docs_test

import (
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// command is what --help says of a program, or of a command of it.
type command struct {
	path     []string // the program, then the commands
	commands map[string]*command
	options  map[string]string // the printed default, "" for none
	help     string            // all that --help prints, without the version
}

var update = flag.Bool("update", false, "write the help of the programs in bin/ to testdata/help")

var (
	commandLine = regexp.MustCompile(`^   ([a-z][a-z-]*)  +\S`)
	optionLine  = regexp.MustCompile(`^   (-.*?)(?:  |$)`)
	optionName  = regexp.MustCompile(`--?[a-zA-Z][a-z-]*`)
	versionText = regexp.MustCompile(`\nVERSION:\n.*\n`)
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
	c.help = versionText.ReplaceAllLiteralString(help, "")
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

// TestHelp compares what --help of each program and of all its commands prints
// with a file of testdata/help for each program. With -update it writes the files.
func TestHelp(t *testing.T) {
	names := map[string]bool{}
	for name, c := range programs(t) {
		file := filepath.Join("testdata", "help", name+".txt")
		names[file] = true
		help := c.allHelp()
		if *update {
			if err := os.WriteFile(file, []byte(help), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if help != string(golden) {
			t.Errorf("the help of %s is not that of %s; see the difference after: make build && go test ./test/docs -run TestHelp -update", name, file)
		}
	}
	files, err := filepath.Glob("testdata/help/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !names[file] {
			t.Errorf("%s is the help of no program", file)
		}
	}
}

// allHelp returns the help of c and its commands, each after its command line.
func (c *command) allHelp() string {
	help := "$ " + strings.Join(c.path, " ") + " --help\n" + c.help
	for _, name := range slices.Sorted(maps.Keys(c.commands)) {
		help += "\n" + c.commands[name].allHelp()
	}
	return help
}

// Help texts use the terms of CONTRIBUTING.md.
func TestHelpIsPlain(t *testing.T) {
	coined := regexp.MustCompile(`(?i)\b(ours|nobody|anew|look after|does not fit|whose they are|is well|are well|goes on|under way|in hand)\b`)
	var check func(c *command)
	check = func(c *command) {
		for line := range strings.Lines(c.help) {
			if word := coined.FindString(line); word != "" {
				t.Errorf("%q --help says %q; see the glossary of CONTRIBUTING.md: %s", c.path, word, line)
			}
		}
		for _, sub := range c.commands {
			check(sub)
		}
	}
	for _, c := range programs(t) {
		check(c)
	}
}

// TestExamples: the help of each program and command has an example of it.
func TestExamples(t *testing.T) {
	example := regexp.MustCompile(`\n   Example:\n\n       (winery.*)\n`)
	var check func(c *command)
	check = func(c *command) {
		match := example.FindStringSubmatch(c.help)
		if match == nil {
			t.Errorf("%q --help has no example", c.path)
			return
		}
		words := strings.Fields(match[1])
		if words[0] != c.path[0] || !strings.Contains(match[1], strings.Join(c.path[1:], " ")) {
			t.Errorf("%q --help has an example of another command: %s", c.path, match[1])
		}
		if err := programs(t)[words[0]].accepts(words[1:]); err != nil {
			t.Errorf("%q --help has the example %s: %v", c.path, match[1], err)
		}
		for _, sub := range c.commands {
			check(sub)
		}
	}
	for _, c := range programs(t) {
		check(c)
	}
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
