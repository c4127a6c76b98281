package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// state names a filesystem by what made it: lines of the Dockerfile, an image, another source, or a file that the
// frontend writes itself. All empty means an empty filesystem.
type state struct {
	// Lines are the first lines of the instructions that make it; equal ones are made once.
	Lines []int `json:"lines,omitempty"`
	// Source is the identifier of an image, a context, a URL or a git repository.
	Source string `json:"source,omitempty"`
	// Platform is that of an image.
	Platform string `json:"platform,omitempty"`
	// File is an inline document, Directory the first content of a cache mount.
	File      *inlineFile `json:"file,omitempty"`
	Directory *directory  `json:"directory,omitempty"`
}

type inlineFile struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
	Data string `json:"data"`
}

// source is something that comes from outside.
type source struct {
	Identifier string            `json:"identifier"`
	Platform   string            `json:"platform,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// reader turns a definition's operations into facts. An operation's inputs were read before it.
type reader struct {
	definition *llb.Definition
	operations map[digest.Digest]*pb.Op
	order      []digest.Digest
	// links are copies on an empty filesystem that merges put on others.
	links map[digest.Digest]bool
}

// sessionAttributes say how a file gets to BuildKit, not what it is.
var sessionAttributes = []string{
	pb.AttrLocalSessionID, pb.AttrLocalUniqueID, pb.AttrSharedKeyHint, pb.AttrLocalDiffer, pb.AttrOCILayoutSessionID,
}

func readDefinition(definition *llb.Definition) (answer, error) {
	r := &reader{
		definition: definition,
		operations: map[digest.Digest]*pb.Op{},
		links:      map[digest.Digest]bool{},
	}
	var last *pb.Op
	for _, bytes := range definition.Def {
		op := &pb.Op{}
		if err := op.UnmarshalVT(bytes); err != nil {
			return answer{}, err
		}
		name := digest.FromBytes(bytes)
		r.operations[name] = op
		r.order = append(r.order, name)
		last = op
	}
	for _, op := range r.operations {
		if merge := op.GetMerge(); merge != nil {
			for _, input := range op.Inputs[1:] {
				r.links[digest.Digest(input.Digest)] = true
			}
		}
	}
	result := answer{}
	for _, name := range r.order {
		op := r.operations[name]
		switch {
		case op.GetSource() != nil:
			result.Sources = append(result.Sources, r.source(op))
		case op.GetExec() != nil:
			for _, line := range r.lines(name) {
				result.Execs = append(result.Execs, r.exec(line, op))
			}
		case r.links[name]:
		case op.GetFile() != nil:
			for _, line := range r.lines(name) {
				result.Files = append(result.Files, r.fileOperation(line, op))
			}
		case op.GetMerge() != nil:
			for _, line := range r.lines(name) {
				result.Files = append(result.Files, r.linked(line, op))
			}
		case op.GetOp() == nil:
		default:
			return answer{}, fmt.Errorf("an operation of the kind %T", op.GetOp())
		}
	}
	slices.SortFunc(result.Sources, func(a, b source) int {
		return strings.Compare(a.Identifier+" "+a.Platform, b.Identifier+" "+b.Platform)
	})
	slices.SortStableFunc(result.Execs, func(a, b exec) int { return cmp.Compare(a.Line, b.Line) })
	slices.SortStableFunc(result.Files, func(a, b fileOperation) int { return cmp.Compare(a.Line, b.Line) })
	if last != nil && len(last.Inputs) > 0 {
		final := r.input(last, 0)
		result.Result = &final
	}
	return result, nil
}

// lines gives the first line of each instruction that an operation stands for.
func (r *reader) lines(name digest.Digest) []int {
	var lines []int
	for _, location := range r.definition.Source.GetLocations()[string(name)].GetLocations() {
		if ranges := location.GetRanges(); len(ranges) > 0 {
			line := int(ranges[0].GetStart().GetLine())
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func (r *reader) source(op *pb.Op) source {
	attributes := maps.Clone(op.GetSource().Attrs)
	for _, name := range sessionAttributes {
		delete(attributes, name)
	}
	found := source{Identifier: op.GetSource().Identifier, Attributes: attributes}
	if strings.HasPrefix(found.Identifier, "docker-image://") {
		found.Platform = platformText(op.Platform)
	}
	return found
}

// input names the filesystem at an operation's input; a negative index is the empty one.
func (r *reader) input(op *pb.Op, index int64) state {
	if index < 0 || int(index) >= len(op.Inputs) {
		return state{}
	}
	name := digest.Digest(op.Inputs[index].Digest)
	made := r.operations[name]
	if found := made.GetSource(); found != nil {
		named := state{Source: found.Identifier}
		if strings.HasPrefix(found.Identifier, "docker-image://") {
			named.Platform = platformText(made.Platform)
		}
		return named
	}
	if lines := r.lines(name); len(lines) > 0 {
		return state{Lines: lines}
	}
	return r.internal(made)
}

// internal names a filesystem that no instruction of the Dockerfile stands for.
func (r *reader) internal(op *pb.Op) state {
	for _, action := range op.GetFile().GetActions() {
		if file := action.GetMkfile(); file != nil {
			return state{File: &inlineFile{file.Path, octal(int64(file.Mode)), string(file.Data)}}
		}
		if made := action.GetMkdir(); made != nil {
			first := directory{Path: made.Path, Mode: octal(int64(made.Mode)), Owner: owner(made.Owner)}
			if below := r.input(op, action.Input); !below.isEmpty() {
				first.On = &below
			}
			return state{Directory: &first}
		}
	}
	return state{Source: "unknown"}
}

func (s state) isEmpty() bool {
	return len(s.Lines) == 0 && s.Source == "" && s.File == nil && s.Directory == nil
}

func platformText(platform *pb.Platform) string {
	if platform == nil {
		return ""
	}
	return platforms.FormatAll(platforms.Normalize(ocispecs.Platform{
		OS:           platform.OS,
		Architecture: platform.Architecture,
		Variant:      platform.Variant,
		OSVersion:    platform.OSVersion,
	}))
}

func octal(mode int64) string {
	return fmt.Sprintf("%04o", mode)
}
