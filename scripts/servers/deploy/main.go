// Parses the files of deploy/ with the parsers of the tools that use them, without a container engine:
//
//	deploy-check compose FILE...      loads Compose files, merged, with Compose's own loader; prints the project as JSON
//	deploy-check containerfile FILE   parses a Containerfile with BuildKit's own parser; prints its stages as JSON
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	out, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(out))
}

func run(args []string) ([]byte, error) {
	if len(args) >= 2 && args[0] == "compose" {
		return compose(args[1:])
	}
	if len(args) == 2 && args[0] == "containerfile" {
		return containerfile(args[1])
	}
	return nil, errors.New("expected: deploy-check compose FILE... | deploy-check containerfile FILE")
}

func compose(files []string) ([]byte, error) {
	options, err := cli.NewProjectOptions(files, cli.WithOsEnv, cli.WithDefaultProfiles("*"))
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	return project.MarshalJSON()
}

type instruction struct {
	Name string
	Text string
}

func containerfile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return nil, err
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, err
	}
	shown := make([][]instruction, 0, len(stages))
	for _, stage := range stages {
		commands := []instruction{{"FROM", stage.BaseName}}
		for _, command := range stage.Commands {
			commands = append(commands, instruction{command.Name(), fmt.Sprint(command)})
		}
		shown = append(shown, commands)
	}
	return json.Marshal(shown)
}
