package python

import (
	"fmt"
	"net"
	"os"

	"github.com/agensium/agensium/pool/child"
)

// launched is an interpreter that runs our program: channel on fd 3, lifeline on fd 5.
type launched struct {
	proc     *child.Process
	conn     *net.UnixConn
	lifeline *os.File // while we hold it the process lives
	output   *os.File // what it prints
}

// launch starts an interpreter in mode "fork", "spawn" or "child".
func launch(o Options, mode string, slot int) (_ *launched, err error) {
	l := &launched{}
	var give [4]*os.File // channel, source, lifeline, output: the ends that are for the process
	defer func() {
		for _, f := range give {
			if f != nil {
				f.Close()
			}
		}
		if err != nil {
			l.close()
		}
	}()
	if l.conn, give[0], err = child.Pair(); err != nil {
		return nil, err
	}
	if l.lifeline, give[2], err = child.Lifeline(); err != nil {
		return nil, err
	}
	if l.output, give[3], err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("make output pipe: %w", err)
	}
	var source *os.File
	if give[1], source, err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("make source pipe: %w", err)
	}
	l.proc, err = child.Start(child.Spec{Path: o.Interpreter, Args: []string{"-c", bootstrap}, Dir: o.Dir, Env: o.Env,
		Files: give[:3], Output: give[3]})
	if err != nil {
		source.Close()
		return nil, err
	}
	go func() { // ends when the process has read it, or is gone
		_ = sendPayload(source, o.payload(mode, slot))
		source.Close()
	}()
	return l, nil
}

func (l *launched) close() {
	if l.conn != nil {
		l.conn.Close()
	}
	if l.lifeline != nil {
		l.lifeline.Close()
	}
	if l.output != nil {
		l.output.Close()
	}
}
