package main

import "github.com/moby/buildkit/frontend/dockerfile/dfgitutil"

// A reference has the fields of BuildKit's, without those that say nothing.
type reference struct {
	Remote                     string `json:",omitempty"`
	ShortName                  string `json:",omitempty"`
	Ref                        string `json:",omitempty"`
	Checksum                   string `json:",omitempty"`
	SubDir                     string `json:",omitempty"`
	IndistinguishableFromLocal bool   `json:",omitempty"`
	UnencryptedTCP             bool   `json:",omitempty"`
	KeepGitDir                 *bool  `json:",omitempty"`
	Submodules                 *bool  `json:",omitempty"`
	MTime                      string `json:",omitempty"`
	FetchByCommit              bool   `json:",omitempty"`
}

// gitref answers whether a string names a git repository and, if so, what it says. What names none is no error;
// what names one with options that are wrong is.
func gitref(asked question) (answer, error) {
	git, isGit, err := dfgitutil.ParseGitRef(asked.Ref)
	if !isGit {
		return answer{"is_git": false}, nil
	}
	if err != nil {
		return nil, err
	}
	return answer{"is_git": true, "git": reference(*git)}, nil
}
