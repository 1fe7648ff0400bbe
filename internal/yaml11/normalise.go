// SPDX-License-Identifier: GPL-3.0-or-later

package yaml11

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// A normaliser changes a tree of nodes so that the library decodes it as PyYAML would: it replaces aliases and merges by
// what they stand for, and resolves scalars by YAML 1.1.
type normaliser struct {
	// done has each node that was met: false while its content is normalised. No
	// node is normalised or copied twice, so aliases cannot make a file large.
	done     map[*yaml.Node]bool
	repeated []*yaml.Node
}

func (n *normaliser) normalise(node *yaml.Node) (*yaml.Node, error) {
	node = target(node)
	done, met := n.done[node]
	if done {
		return node, nil
	}
	if met {
		return nil, failure(node, "a value contains itself")
	}
	n.done[node] = false
	var err error
	switch node.Kind {
	case yaml.MappingNode:
		node.Tag, err = "!!map", n.mapping(node)
	case yaml.SequenceNode:
		node.Tag = "!!seq"
		for i := 0; i < len(node.Content) && err == nil; i++ {
			node.Content[i], err = n.normalise(node.Content[i])
		}
	default:
		err = resolve(node)
	}
	n.done[node] = true
	return node, err
}

// mapping makes the keys of a mapping unique. Of equal keys the last one counts. A mapping's own key comes before a merged
// one, and of several merged mappings the first one counts (releases of PyYAML differ there).
func (n *normaliser) mapping(node *yaml.Node) error {
	var pairs, merged []*yaml.Node
	index := map[string]int{} // of a key in pairs
	for pair := range slices.Chunk(node.Content, 2) {
		key := target(pair[0])
		value, err := n.normalise(pair[1])
		isMerge := pair[0].Value == "<<" && pair[0].Kind == yaml.ScalarNode && pair[0].Style == 0
		switch i, again := index[key.Value]; {
		case err != nil:
			return err
		case isMerge && value.Kind == yaml.SequenceNode:
			merged = append(merged, value.Content...)
		case isMerge:
			merged = append(merged, value)
		case key.Kind != yaml.ScalarNode:
			return failure(key, "a key is a list or a mapping")
		case again:
			n.repeated = append(n.repeated, key)
			pairs[i], pairs[i+1] = key, value
		default:
			index[key.Value] = len(pairs)
			pairs = append(pairs, key, value)
		}
	}
	for _, from := range merged {
		if from.Kind != yaml.MappingNode {
			return failure(from, "only a mapping can be merged")
		}
		for pair := range slices.Chunk(from.Content, 2) {
			if _, taken := index[pair[0].Value]; !taken {
				index[pair[0].Value] = len(pairs)
				pairs = append(pairs, pair...)
			}
		}
	}
	node.Content = pairs
	return nil
}

func target(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}
