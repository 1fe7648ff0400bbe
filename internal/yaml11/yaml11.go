// SPDX-License-Identifier: GPL-3.0-or-later

// Package yaml11 parses YAML as PyYAML's safe_load does, by YAML 1.1: yes is true, 010 is 8, 1:30 is 90, 1e3 and y are
// strings. The library alone reads YAML 1.2.
package yaml11

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Document is the content of a file.
type Document struct {
	// Root has neither aliases nor merges. A mapping has the tag !!map and unique keys,
	// each with its text, also where PyYAML makes a number of it. A list has the tag
	// !!seq, and a scalar its tag by YAML 1.1. A scalar decodes to the value that PyYAML
	// gives it, unless it is a !!timestamp. The root of an empty file is a !!null.
	Root *yaml.Node
	// Repeated has each key that its mapping has before. The last one counts.
	Repeated []*yaml.Node
}

// directive matches a %YAML directive: PyYAML reads each version 1.x as 1.1, and the
// library refuses it.
var directive = regexp.MustCompile(`^((?:\x{feff})?(?:#.*\r?\n)*%YAML[ \t]+1\.)\d+`)

// Parse reads a file of at most one document. Its error is an [*Error].
func Parse(data []byte) (*Document, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(directive.ReplaceAll(data, []byte("${1}1"))))
	var roots []*yaml.Node
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, translate(err, data)
		}
		roots = append(roots, document.Content[0])
	}
	if len(roots) == 0 {
		return &Document{Root: &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}}, nil
	}
	if len(roots) > 1 {
		return nil, &Error{0, fmt.Sprintf("holds %d YAML documents, must be one", len(roots))}
	}
	n := normaliser{done: map[*yaml.Node]bool{}}
	root, err := n.normalise(roots[0])
	if err != nil {
		return nil, err
	}
	return &Document{root, n.repeated}, nil
}
