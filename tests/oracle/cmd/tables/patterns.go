package main

import (
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// ignore answers with the patterns of an ignore file, or whether patterns hide a path or a parent of it.
func ignore(asked question) (answer, error) {
	if asked.File != nil {
		patterns, err := ignorefile.ReadAll(strings.NewReader(*asked.File))
		if err != nil {
			return nil, err
		}
		if patterns == nil {
			patterns = []string{}
		}
		return answer{"patterns": patterns}, nil
	}
	ignored, err := patternmatcher.MatchesOrParentMatches(asked.Path, asked.Patterns)
	if err != nil {
		return nil, err
	}
	return answer{"ignored": ignored}, nil
}

func glob(asked question) (answer, error) {
	match, err := filepath.Match(asked.Pattern, asked.Path)
	if err != nil {
		return nil, err
	}
	return answer{"match": match}, nil
}
