package main

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

type heredoc struct {
	Name    string `json:"name"`
	FD      uint   `json:"fd"`
	Content string `json:"content"`
	Expand  bool   `json:"expand"`
	Chomp   bool   `json:"chomp"`
	Line    int    `json:"line"`
}

// parse answers with the tree of a Dockerfile, its instructions' first and last lines, its escape character, its
// here-documents (each with the line that its instruction starts at) and the parser's warnings.
func parse(asked question) (answer, error) {
	result, err := parser.Parse(strings.NewReader(asked.Dockerfile))
	if err != nil {
		return nil, err
	}
	answered := answer{"dump": result.AST.Dump(), "escape": string(result.EscapeToken)}
	lines := [][2]int{}
	heredocs := []heredoc{}
	for _, node := range result.AST.Children {
		lines = append(lines, [2]int{node.StartLine, node.EndLine})
		for _, doc := range node.Heredocs {
			heredocs = append(heredocs, heredoc{doc.Name, doc.FileDescriptor, doc.Content, doc.Expand, doc.Chomp, node.StartLine})
		}
	}
	if len(lines) > 0 {
		answered["lines"] = lines
	}
	if len(heredocs) > 0 {
		answered["heredocs"] = heredocs
	}
	warnings := [][2]any{}
	for _, warning := range result.Warnings {
		warnings = append(warnings, [2]any{warning.Short, warning.Location.Start.Line})
	}
	if len(warnings) > 0 {
		answered["warnings"] = warnings
	}
	return answered, nil
}
