// Command tables reads questions on standard input, one JSON object a line, and prints the answers of
// BuildKit's shell lexer, Dockerfile parser and git references, of moby's patternmatcher and of Go's
// filepath.Match. Member "table" of a question says whom to ask. Members that are empty are left out of answers;
// {"error": …} stands where the one asked reports an error.
//
// With -join it prints the question's members and, under "answer", the answer: the form of the committed tables.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

// A question has the members of every table; each table uses its own.
type question struct {
	Table      string   `json:"table"`
	Input      string   `json:"input"`
	Env        []string `json:"env"`
	Escape     string   `json:"escape"`
	Patterns   []string `json:"patterns"`
	Path       string   `json:"path"`
	File       *string  `json:"file"`
	Pattern    string   `json:"pattern"`
	Ref        string   `json:"ref"`
	Dockerfile string   `json:"dockerfile"`
}

// An answer is what is printed; maps are marshalled with their keys in order.
type answer map[string]any

var tables = map[string]func(question) (answer, error){
	"lexer":  lexer,
	"words":  words,
	"ignore": ignore,
	"glob":   glob,
	"gitref": gitref,
	"parser": parse,
}

func ask(line []byte) answer {
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{"error": "not a question: " + err.Error()}
	}
	table, known := tables[asked.Table]
	if !known {
		return answer{"error": fmt.Sprintf("no table is called %q", asked.Table)}
	}
	answered, err := table(asked)
	if err != nil {
		return answer{"error": err.Error()}
	}
	return answered
}

func run() error {
	join := flag.Bool("join", false, "print each question with its answer")
	flag.Parse()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var printed any = ask(lines.Bytes())
		if *join {
			var row map[string]any
			if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
				return err
			}
			row["answer"] = printed
			printed = row
		}
		if err := out.Encode(printed); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tables:", err)
		os.Exit(1)
	}
}
