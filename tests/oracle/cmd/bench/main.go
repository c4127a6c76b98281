// Command bench times BuildKit's parser on a Dockerfile: that of the Rust benchmark, or the one named.
//
// It prints what `cargo bench -p stagecraft-plan` is compared with: the median and the fastest of many rounds, for
// the parser alone, and for the parser with the instructions made of its tree.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const rounds = 2000

func measure(name string, once func() error) error {
	times := make([]time.Duration, rounds)
	for round := range times {
		start := time.Now()
		if err := once(); err != nil {
			return err
		}
		times[round] = time.Since(start)
	}
	slices.Sort(times)
	fmt.Printf("%-24s median %v, fastest %v\n", name, times[rounds/2], times[0])
	return nil
}

func run() error {
	path := "../fixtures/benchmark/Dockerfile"
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	err = measure("parse", func() error {
		_, err := parser.Parse(bytes.NewReader(file))
		return err
	})
	if err != nil {
		return err
	}
	return measure("parse and instructions", func() error {
		result, err := parser.Parse(bytes.NewReader(file))
		if err != nil {
			return err
		}
		_, _, err = instructions.Parse(result.AST, linter.New(&linter.Config{}))
		return err
	})
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
