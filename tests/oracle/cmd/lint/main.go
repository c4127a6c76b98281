// Lint asks BuildKit's own linter about small Dockerfiles.
//
// It reads cases, one JSON object a line, and prints each with the answer: the rules that fired with their lines, and
// whether there was an error. Images exist only here, nothing is pulled and nothing is built.
//
//	go run ./cmd/lint < ../fixtures/lint/buildkit.jsonl > answered
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// question is a Dockerfile with what is asked of the build; everything but the file is optional.
type question struct {
	Name       string            `json:"name"`
	Dockerfile string            `json:"dockerfile"`
	Target     string            `json:"target,omitempty"`
	BuildArgs  map[string]string `json:"buildArgs,omitempty"`
	// Ignore is the text of .dockerignore.
	Ignore string `json:"ignore,omitempty"`
	// Build asks for the warnings of a build instead of those of a check: then only stages that are needed count.
	Build  bool             `json:"build,omitempty"`
	Images map[string]image `json:"images,omitempty"`
	Answer *answer          `json:"answer,omitempty"`
	// Ours is what the product says where it differs on purpose; it is kept as it is.
	Ours json.RawMessage `json:"ours,omitempty"`
}

// answer is what BuildKit says: rules with the line that they are about, sorted by line.
type answer struct {
	Warnings []warning `json:"warnings"`
	Failed   bool      `json:"failed,omitempty"`
}

type warning struct {
	Rule string
	Line int
}

// MarshalJSON gives the pair as a list.
func (w warning) MarshalJSON() ([]byte, error) { return json.Marshal([]any{w.Rule, w.Line}) }

// UnmarshalJSON reads nothing: every answer is made anew.
func (w *warning) UnmarshalJSON([]byte) error { return nil }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(1)
	}
}

func run() error {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	output := json.NewEncoder(os.Stdout)
	output.SetEscapeHTML(false)
	for input.Scan() {
		var asked question
		if err := json.Unmarshal(input.Bytes(), &asked); err != nil {
			return fmt.Errorf("%s: %w", input.Text(), err)
		}
		asked.Answer = ask(&asked)
		if err := output.Encode(asked); err != nil {
			return err
		}
	}
	return input.Err()
}

func ask(asked *question) *answer {
	found := &answer{Warnings: []warning{}}
	ui, err := dockerui.NewClient(&fakeClient{asked})
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", asked.Name, err)
		found.Failed = true
		return found
	}
	text := []byte(asked.Dockerfile)
	options := dockerfile2llb.ConvertOpt{
		Config:         ui.Config,
		Client:         ui,
		SourceMap:      llb.NewSourceMap(nil, "Dockerfile", "dockerfile", text),
		MetaResolver:   &fakeClient{asked},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
	}
	options.AllStages = !asked.Build && asked.Target == ""
	options.Warn = func(rule, _, _, _ string, location []parser.Range) {
		line := 0
		if len(location) > 0 {
			line = location[0].Start.Line
		}
		found.Warnings = append(found.Warnings, warning{rule, line})
	}
	if _, err = dockerfile2llb.Dockerfile2LLB(context.Background(), text, options); err != nil {
		found.Failed = true
		fmt.Fprintf(os.Stderr, "%s: %v\n", asked.Name, err)
	}
	slices.SortFunc(found.Warnings, func(a, b warning) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Rule, b.Rule)
	})
	return found
}
