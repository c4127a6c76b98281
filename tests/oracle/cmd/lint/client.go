package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// image is the configuration of an image by familiar name without tag; others have an empty one.
type image struct {
	Env          []string `json:"env,omitempty"`
	OnBuild      []string `json:"onBuild,omitempty"`
	Shell        []string `json:"shell,omitempty"`
	OS           string   `json:"os,omitempty"`
	Architecture string   `json:"architecture,omitempty"`
	WorkingDir   string   `json:"workingDir,omitempty"`
}

var errNotHere = errors.New("nothing is built here")

// fakeClient is all that the frontend sees of a daemon.
type fakeClient struct{ asked *question }

var _ client.Client = (*fakeClient)(nil)

func (c *fakeClient) BuildOpts() client.BuildOpts {
	options := map[string]string{}
	if c.asked.Target != "" {
		options["target"] = c.asked.Target
	}
	for name, value := range c.asked.BuildArgs {
		options["build-arg:"+name] = value
	}
	return client.BuildOpts{
		Opts:    options,
		Workers: []client.WorkerInfo{{Platforms: []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}}}},
		LLBCaps: pb.Caps.CapSet(pb.Caps.All()),
		Caps:    pb.Caps.CapSet(pb.Caps.All()),
	}
}

func (c *fakeClient) ResolveImageConfig(_ context.Context, ref string, options sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", "", nil, err
	}
	found := c.asked.Images[reference.FamiliarName(named)]
	platform := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	if options.ImageOpt != nil && options.ImageOpt.Platform != nil {
		platform = *options.ImageOpt.Platform
	}
	if found.OS != "" {
		platform.OS = found.OS
	}
	if found.Architecture != "" {
		platform.Architecture = found.Architecture
	}
	text, err := json.Marshal(map[string]any{
		"os":           platform.OS,
		"architecture": platform.Architecture,
		"rootfs":       ocispecs.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString("layer")}},
		"config": map[string]any{
			"Env": found.Env, "OnBuild": found.OnBuild, "Shell": found.Shell, "WorkingDir": found.WorkingDir,
		},
	})
	return ref, digest.FromString(ref), text, err
}

func (c *fakeClient) Solve(context.Context, client.SolveRequest) (*client.Result, error) {
	result := client.NewResult()
	result.SetRef(ignoreFile{c.asked.Ignore})
	return result, nil
}

func (c *fakeClient) ResolveSourceMetadata(context.Context, *pb.SourceOp, sourceresolver.Opt) (*sourceresolver.MetaResponse, error) {
	return nil, errNotHere
}

func (c *fakeClient) Inputs(context.Context) (map[string]llb.State, error) { return nil, nil }

func (c *fakeClient) NewContainer(context.Context, client.NewContainerRequest) (client.Container, error) {
	return nil, errNotHere
}

func (c *fakeClient) Warn(context.Context, digest.Digest, string, client.WarnOpts) error { return nil }

// ignoreFile is a directory that holds .dockerignore, or nothing.
type ignoreFile struct{ text string }

func (f ignoreFile) has(name string) bool {
	return f.text != "" && path.Base(name) == dockerui.DefaultDockerignoreName
}

func (f ignoreFile) ReadFile(_ context.Context, request client.ReadRequest) ([]byte, error) {
	if !f.has(request.Filename) {
		return nil, os.ErrNotExist
	}
	return []byte(f.text), nil
}

func (f ignoreFile) StatFile(_ context.Context, request client.StatRequest) (*fstypes.Stat, error) {
	if !f.has(request.Path) {
		return nil, os.ErrNotExist
	}
	return &fstypes.Stat{Path: request.Path, Size: int64(len(f.text))}, nil
}

func (f ignoreFile) ReadDir(context.Context, client.ReadDirRequest) ([]*fstypes.Stat, error) {
	return nil, errNotHere
}

func (f ignoreFile) ToState() (llb.State, error) { return llb.State{}, errNotHere }

func (f ignoreFile) Evaluate(context.Context) error { return nil }
