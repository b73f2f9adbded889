package command

import (
	"fmt"
	"os"
	"time"
)

// end of a pipe that is ours, and the one that is the program's.
type pipe struct {
	ours, theirs *os.File
}

type pipes struct {
	stdin, stdout, stderr pipe
}

func openPipes(input bool) (*pipes, error) {
	var p pipes
	var err error
	if input {
		p.stdin.theirs, p.stdin.ours, err = os.Pipe()
	}
	if err == nil {
		p.stdout.ours, p.stdout.theirs, err = os.Pipe()
	}
	if err == nil {
		p.stderr.ours, p.stderr.theirs, err = os.Pipe()
	}
	if err != nil {
		p.closeTheirs()
		p.closeOurs()
		return nil, fmt.Errorf("make pipes for a command: %w", err)
	}
	return &p, nil
}

// Closing a pipe's end twice, or one that is not there, is harmless; no error of it is of use.
func (p *pipes) closeTheirs() {
	for _, e := range []pipe{p.stdin, p.stdout, p.stderr} {
		_ = e.theirs.Close()
	}
}

func (p *pipes) closeOurs() {
	for _, e := range []pipe{p.stdin, p.stdout, p.stderr} {
		_ = e.ours.Close()
	}
}

// deadline bounds how long we read from and write to whoever still holds the other ends.
func (p *pipes) deadline(t time.Time) {
	for _, e := range []pipe{p.stdin, p.stdout, p.stderr} {
		_ = e.ours.SetDeadline(t)
	}
}
