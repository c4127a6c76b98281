package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// image is an image that exists only for the corpus.
type image struct {
	// Platforms that its index has; all if there are none here.
	Platforms []string `json:"platforms"`
	// Single says that there is no index: every platform gets the configuration as it stands.
	Single bool `json:"single"`
	// Image is the configuration without architecture and os.
	Image map[string]any `json:"image"`
}

// imageSet holds images by familiar name, with or without tag. An image that is not in it has the configuration of
// the one called "*", unless its name starts with "missing": those do not exist.
type imageSet map[string]image

func readImages(path string) (imageSet, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var images imageSet
	if err := json.Unmarshal(text, &images); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return images, nil
}

// resolve gives what a registry would: the digest of the manifest for the platform, and the configuration.
func (s imageSet) resolve(name string, platform ocispecs.Platform) (digest.Digest, []byte, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", nil, err
	}
	familiar := reference.FamiliarString(reference.TagNameOnly(named))
	short := reference.FamiliarName(named)
	if strings.HasPrefix(short, "missing") {
		return "", nil, fmt.Errorf("%s: not found", named)
	}
	found, ok := s[familiar]
	if !ok {
		found, ok = s[short]
	}
	if !ok {
		found = s["*"]
	}
	wanted := platforms.FormatAll(platforms.Normalize(platform))
	if len(found.Platforms) > 0 && !slices.Contains(found.Platforms, wanted) {
		return "", nil, fmt.Errorf("%s: no match for platform in manifest: not found", named)
	}
	config := maps.Clone(found.Image)
	if !found.Single {
		config["os"] = platform.OS
		config["architecture"] = platform.Architecture
		if platform.Variant != "" {
			config["variant"] = platform.Variant
		}
	}
	text, err := json.Marshal(config)
	if err != nil {
		return "", nil, err
	}
	if digested, ok := named.(reference.Digested); ok {
		return digested.Digest(), text, nil
	}
	return digest.FromString(named.String() + " " + wanted), text, nil
}
