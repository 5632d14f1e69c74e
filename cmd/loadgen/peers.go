package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// peersCommand runs the module bench/peers, whose dependencies this program must not
// have.
type peersCommand struct {
	Flags []string `arg:"" optional:"" help:"Its flags: loadgen peers --help lists them."`
}

// peersPlace is where the module lies in the source tree.
var peersPlace = filepath.Join("bench", "peers")

// Run builds the module and runs it where this program was called, so that the names of
// files mean the same.
func (c *peersCommand) Run(p *process) (err error) {
	golang, err := exec.LookPath("go")
	if err != nil {
		return usage("peers are built from source, and there is no go on the PATH: install Go, or add its bin directory to PATH")
	}
	source, err := peersSource()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "loadgen-peers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := filepath.Join(dir, "peers.exe")
	fmt.Fprintf(p.stderr, "building %s\n", source)
	build := exec.CommandContext(p.ctx, golang, "build", "-o", program, ".")
	build.Dir = source
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s could not be built: %w\n%s", source, err, bytes.TrimSpace(said))
	}
	run := exec.CommandContext(p.ctx, program, c.Flags...)
	run.Stdout, run.Stderr = p.stdout, p.stderr
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) } // it cleans up
	err = run.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return &exitError{exit.ExitCode(), errors.New("peers did not end well; see above")}
	}
	return err
}

// peersSource finds the module: in the source tree that the working directory lies in,
// or in the one that this program was built from.
func peersSource() (string, error) {
	var starts []string
	if here, err := os.Getwd(); err == nil {
		starts = append(starts, here)
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		starts = append(starts, filepath.Dir(file))
	}
	for _, dir := range starts {
		for {
			if source := filepath.Join(dir, peersPlace); isModule(source) {
				return source, nil
			}
			above := filepath.Dir(dir)
			if above == dir {
				break
			}
			dir = above
		}
	}
	return "", usage("peers are built from source, and %s is neither in the tree above the working directory nor where this program was built: "+
		"clone the repository and run it there", peersPlace)
}

// isModule says whether dir is this repository's module of peers.
func isModule(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && bytes.HasPrefix(text, []byte("module github.com/keyfold/keyfold/bench/peers"))
}
