// Judge asks BuildKit's own frontend what each Dockerfile of the corpus means.
//
// For every case it runs dockerfile2llb in this process, with images and contexts that exist only here, and writes
// the answer as buildkit.json beside the Dockerfile. Nothing is pulled and nothing is built.
//
//	go run ./judge                 every case of ../fixtures/dockerfiles
//	go run ./judge topic/case ...  these cases
//	go run ./judge -print FILE     the answer for one Dockerfile, on standard output
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	corpus := flag.String("corpus", "../fixtures/dockerfiles", "the directory of the cases")
	printed := flag.String("print", "", "a Dockerfile to answer for on standard output")
	flag.Parse()
	if err := run(*corpus, *printed, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

func run(corpus, printed string, names []string) error {
	images, err := readImages(filepath.Join(corpus, "images.json"))
	if err != nil {
		return err
	}
	if printed != "" {
		text, err := os.ReadFile(printed)
		if err != nil {
			return err
		}
		settings, err := readSettings(filepath.Join(filepath.Dir(printed), "case.toml"))
		if err != nil {
			return err
		}
		return write(os.Stdout.Write, judge(context.Background(), text, settings, images))
	}
	cases, err := findCases(corpus, names)
	if err != nil {
		return err
	}
	for _, directory := range cases {
		if err := judgeCase(directory, images); err != nil {
			return fmt.Errorf("%s: %w", directory, err)
		}
	}
	fmt.Printf("%d cases judged\n", len(cases))
	return nil
}

func findCases(corpus string, names []string) ([]string, error) {
	if len(names) == 0 {
		names = []string{"*/*"}
	}
	var cases []string
	for _, name := range names {
		found, err := filepath.Glob(filepath.Join(corpus, name, "Dockerfile"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no case is called %s", name)
		}
		for _, path := range found {
			cases = append(cases, filepath.Dir(path))
		}
	}
	return cases, nil
}

func judgeCase(directory string, images imageSet) error {
	text, err := os.ReadFile(filepath.Join(directory, "Dockerfile"))
	if err != nil {
		return err
	}
	settings, err := readSettings(filepath.Join(directory, "case.toml"))
	if err != nil {
		return err
	}
	ignored, err := os.ReadFile(filepath.Join(directory, "dockerignore"))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	settings.ignoreFile = ignored
	answer := judge(context.Background(), text, settings, images)
	return write(func(bytes []byte) (int, error) {
		return len(bytes), os.WriteFile(filepath.Join(directory, "buildkit.json"), bytes, 0o644)
	}, answer)
}

// write gives the indented form, with the characters <, > and & as they are.
func write(to func([]byte) (int, error), answer answer) error {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answer); err != nil {
		return err
	}
	_, err := to(buffer.Bytes())
	return err
}
