package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

func newLex(asked question) (*shell.Lex, error) {
	switch asked.Escape {
	case "", `\`:
		return shell.NewLex('\\'), nil
	case "`":
		return shell.NewLex('`'), nil
	default:
		return nil, fmt.Errorf("the escape character %q is neither \\ nor `", asked.Escape)
	}
}

// lexer answers with the word, expanded and without quotes, and the names that were met and are not set.
func lexer(asked question) (answer, error) {
	lex, err := newLex(asked)
	if err != nil {
		return nil, err
	}
	result, unset, err := lex.ProcessWord(asked.Input, shell.EnvsFromSlice(asked.Env))
	if err != nil {
		return nil, err
	}
	answered := answer{"result": result}
	if len(unset) > 0 {
		answered["unset"] = slices.Sorted(maps.Keys(unset))
	}
	return answered, nil
}

// words answers with the words that the input becomes when it is split after expansion.
func words(asked question) (answer, error) {
	lex, err := newLex(asked)
	if err != nil {
		return nil, err
	}
	result, err := lex.ProcessWords(asked.Input, shell.EnvsFromSlice(asked.Env))
	if err != nil {
		return nil, err
	}
	if result == nil {
		result = []string{}
	}
	return answer{"result": result}, nil
}
