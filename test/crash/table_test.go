// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	"winery/pool"
	"winery/test/expect"
	"winery/test/roletest"
)

// reserve makes room for a line of the table.
func (g *ground) reserve() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lines = append(g.lines, "")
	return len(g.lines) - 1
}

func (g *ground) set(line int, c *trial) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	g.lines[line] = fmt.Sprintf("%s\t%s\t%s\t%s\t%.1f s\t%.1f s\t%s\n",
		c.role, c.at.name, c.left, strings.Join(c.by, ", "), c.moved.Seconds(), c.done.Seconds(), c.after)
}

// table has for each process: where it was halted, what was left, which process
// continued, and after what time the shard moved on and all work was done.
func (g *ground) table() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "role\thalted\tleft\twent on\tmoved\tdone\tafterwards\n")
	for _, line := range g.lines {
		fmt.Fprint(w, line)
	}
	w.Flush()
	return text.String()
}

// state is a database's shards, with their images, in a few words.
func state(t *testing.T, s *roletest.Stage) string {
	t.Helper()
	leases, err := s.Base.Leases(t.Context())
	expect.NoError(t, err)
	images, err := s.Base.ImageLeases(t.Context())
	expect.NoError(t, err)
	words := []string{}
	for _, n := range shards(t, s) {
		text := string(n.State)
		if _, ok := leases[n.Locker]; ok {
			text += " with a lease"
		}
		if _, ok := images[n.ID]; ok {
			text += ", image claimed"
		}
		words = append(words, text+", "+image(t, s, n.Name))
	}
	if len(words) == 0 {
		return "no shard"
	}
	return strings.Join(words, "; ")
}

// image tells what there is of an image.
func image(t *testing.T, s *roletest.Stage, name string) string {
	t.Helper()
	img, err := s.Pool.Open(t.Context(), name)
	if errors.Is(err, pool.ErrNotFound) {
		return "no image"
	}
	expect.NoError(t, err)
	defer func() { expect.NoError(t, img.Close()) }()
	r, err := s.Pool.Format().Open(img, img.Size(), name)
	if err == nil {
		_, err = r.Verify(t.Context(), nil)
	}
	if err != nil {
		return "unfinished image"
	}
	return "whole image"
}
