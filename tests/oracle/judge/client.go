package main

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	fstypes "github.com/tonistiigi/fsutil/types"
)

var errNotHere = errors.New("the judge builds nothing")

// imageRequest is an image that the frontend asked for.
type imageRequest struct {
	Reference string `json:"reference"`
	Platform  string `json:"platform"`
}

// fakeClient is all that the frontend sees of a daemon: images of the corpus and an ignore file.
type fakeClient struct {
	settings settings
	images   imageSet
	build    ocispecs.Platform

	mutex sync.Mutex
	asked []imageRequest
}

var _ client.Client = (*fakeClient)(nil)

func (c *fakeClient) BuildOpts() client.BuildOpts {
	return client.BuildOpts{
		Opts:    c.settings.options(),
		Workers: []client.WorkerInfo{{Platforms: []ocispecs.Platform{c.build}}},
		LLBCaps: pb.Caps.CapSet(pb.Caps.All()),
		Caps:    pb.Caps.CapSet(pb.Caps.All()),
	}
}

func (c *fakeClient) ResolveImageConfig(_ context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	platform := c.build
	if opt.ImageOpt != nil && opt.ImageOpt.Platform != nil {
		platform = *opt.ImageOpt.Platform
	}
	c.mutex.Lock()
	request := imageRequest{ref, platforms.FormatAll(platforms.Normalize(platform))}
	if !slices.Contains(c.asked, request) {
		c.asked = append(c.asked, request)
	}
	c.mutex.Unlock()
	found, config, err := c.images.resolve(ref, platform)
	return ref, found, config, err
}

// requests gives the images asked for, sorted: the frontend asks for them side by side.
func (c *fakeClient) requests() []imageRequest {
	slices.SortFunc(c.asked, func(a, b imageRequest) int {
		return strings.Compare(a.Reference+" "+a.Platform, b.Reference+" "+b.Platform)
	})
	return c.asked
}

func (c *fakeClient) Solve(context.Context, client.SolveRequest) (*client.Result, error) {
	result := client.NewResult()
	result.SetRef(ignoreFileOnly{c.settings.ignoreFile})
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

// ignoreFileOnly is a directory that holds an ignore file, or nothing.
type ignoreFileOnly struct{ text []byte }

func (r ignoreFileOnly) ReadFile(_ context.Context, request client.ReadRequest) ([]byte, error) {
	if r.text == nil || path.Base(request.Filename) != dockerui.DefaultDockerignoreName {
		return nil, os.ErrNotExist
	}
	return r.text, nil
}

func (r ignoreFileOnly) StatFile(_ context.Context, request client.StatRequest) (*fstypes.Stat, error) {
	if r.text == nil || path.Base(request.Path) != dockerui.DefaultDockerignoreName {
		return nil, os.ErrNotExist
	}
	return &fstypes.Stat{Path: request.Path, Size: int64(len(r.text))}, nil
}

func (r ignoreFileOnly) ReadDir(context.Context, client.ReadDirRequest) ([]*fstypes.Stat, error) {
	return nil, errNotHere
}

func (r ignoreFileOnly) ToState() (llb.State, error) { return llb.State{}, errNotHere }

func (r ignoreFileOnly) Evaluate(context.Context) error { return nil }
