package main

import (
	"bytes"
	"errors"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// settings is a case's case.toml: what is asked of the build. All of it is optional.
type settings struct {
	// Target is the stage to build.
	Target string `toml:"target"`
	// Platform is what the image is for; linux/amd64 if it is not given.
	Platform string `toml:"platform"`
	// BuildPlatform is what the builder runs on; linux/amd64 if it is not given.
	BuildPlatform string            `toml:"build-platform"`
	BuildArgs     map[string]string `toml:"build-args"`
	Labels        map[string]string `toml:"labels"`
	// Contexts are named contexts in the form of docker build's --build-context.
	Contexts map[string]string `toml:"contexts"`
	// These are for our tests: how the case's answer may differ from the judge's, and why.
	Difference string `toml:"difference"`
	Place      string `toml:"place"`
	Open       string `toml:"open"`

	ignoreFile []byte
}

func readSettings(path string) (settings, error) {
	var read settings
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return read, nil
	}
	if err != nil {
		return read, err
	}
	decoder := toml.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return read, decoder.Decode(&read)
}

// options gives the settings as a client sends them to the frontend.
func (s settings) options() map[string]string {
	options := map[string]string{}
	if s.Target != "" {
		options["target"] = s.Target
	}
	for name, value := range s.BuildArgs {
		options["build-arg:"+name] = value
	}
	for name, value := range s.Labels {
		options["label:"+name] = value
	}
	for name, value := range s.Contexts {
		options["context:"+name] = value
	}
	return options
}
