package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// answer is what BuildKit says of a Dockerfile: an error, or what it would build.
type answer struct {
	Error    *failure                   `json:"error,omitempty"`
	Config   *dockerspec.DockerOCIImage `json:"config,omitempty"`
	Images   []imageRequest             `json:"images,omitempty"`
	Sources  []source                   `json:"sources,omitempty"`
	Execs    []exec                     `json:"execs,omitempty"`
	Files    []fileOperation            `json:"files,omitempty"`
	Result   *state                     `json:"result,omitempty"`
	Warnings []warning                  `json:"warnings,omitempty"`
}

// failure is an error; Lines are the first and last line of each place that it names.
type failure struct {
	Message string   `json:"message"`
	Lines   [][2]int `json:"lines,omitempty"`
}

type warning struct {
	Rule    string `json:"rule"`
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// judge never fails: whatever BuildKit says is the answer.
func judge(ctx context.Context, text []byte, settings settings, images imageSet) (result answer) {
	var warnings []warning
	defer func() {
		slices.SortFunc(warnings, func(a, b warning) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
		})
		result.Warnings = warnings
	}()
	options, fake, err := convertOptions(text, settings, images)
	if err != nil {
		return answer{Error: failed(err)}
	}
	options.Warn = func(rule, _, _, message string, location []parser.Range) {
		line := 0
		if len(location) > 0 {
			line = location[0].Start.Line
		}
		warnings = append(warnings, warning{rule, line, message})
	}
	converted, err := dockerfile2llb.Dockerfile2LLB(ctx, text, options)
	if err != nil {
		return answer{Error: failed(err)}
	}
	definition, err := converted.State.Marshal(ctx)
	if err != nil {
		return answer{Error: failed(err)}
	}
	result, err = readDefinition(definition)
	if err != nil {
		return answer{Error: failed(fmt.Errorf("the judge cannot read the definition: %w", err))}
	}
	result.Config = converted.Image
	result.Images = fake.requests()
	return result
}

func convertOptions(text []byte, settings settings, images imageSet) (dockerfile2llb.ConvertOpt, *fakeClient, error) {
	var none dockerfile2llb.ConvertOpt
	target, err := platform(settings.Platform)
	if err != nil {
		return none, nil, err
	}
	build, err := platform(settings.BuildPlatform)
	if err != nil {
		return none, nil, err
	}
	fake := &fakeClient{settings: settings, images: images, build: build}
	frontend, err := dockerui.NewClient(fake)
	if err != nil {
		return none, nil, err
	}
	return dockerfile2llb.ConvertOpt{
		Config:         frontend.Config,
		Client:         frontend,
		SourceMap:      llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", bytes.Clone(text)),
		TargetPlatform: &target,
		MetaResolver:   fake,
	}, fake, nil
}

func platform(text string) (ocispecs.Platform, error) {
	parsed, err := platforms.Parse(cmp.Or(text, "linux/amd64"))
	return platforms.Normalize(parsed), err
}

func failed(err error) *failure {
	found := &failure{Message: err.Error()}
	var location *parser.LocationError
	if errors.As(err, &location) {
		for _, ranges := range location.Locations {
			for _, one := range ranges {
				found.Lines = append(found.Lines, [2]int{one.Start.Line, one.End.Line})
			}
		}
	}
	return found
}
