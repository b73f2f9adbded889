package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// command is how to start a worker; see usage for what is replaced in it.
type command struct{ Name, Command string }

// workers is the flag -worker.
type workers []command

func (w *workers) String() string { return "" }

// Set adds NAME=COMMAND.
func (w *workers) Set(text string) error {
	name, line, ok := strings.Cut(text, "=")
	if !ok || name == "" || strings.ContainsAny(name, " /") || line == "" {
		return errors.New("want NAME=COMMAND")
	}
	*w = append(*w, command{Name: name, Command: line})
	return nil
}

// load is what a measurement asks of a worker.
type load struct {
	concurrency int
	options     []string // of the command line
	env         []string
}

// worker is a running worker: the leader of a process group.
type worker struct {
	cmd    *exec.Cmd
	began  time.Time
	ended  chan struct{} // closed when the leader has ended
	err    error         // how it ended; read after ended is closed
	logged string        // file with its output
}

func (b *bench) start(ctx context.Context, w command, l load) (*worker, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	line := strings.NewReplacer("{python}", b.python, "{app}", "benchapp:app", "{concurrency}", strconv.Itoa(l.concurrency)).Replace(w.Command)
	// Programs are named from where we were called, but the worker runs beside its application.
	words := append(strings.Fields(line), l.options...)
	if strings.ContainsRune(words[0], filepath.Separator) {
		if words[0], err = filepath.Abs(words[0]); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(filepath.Join(b.out, "log", w.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fmt.Fprintf(log, "\n$ %s\n", strings.Join(words, " "))
	r := &worker{cmd: exec.Command(words[0], words[1:]...), ended: make(chan struct{}), logged: log.Name()}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = b.dir, log, log
	r.cmd.Env = b.env(append(l.env, "PORT="+strconv.Itoa(port))...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.began = time.Now()
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", w.Name, err)
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	return r, ctx.Err()
}

// patience is how long an idle worker may take to end after TERM.
const patience = 20 * time.Second

// stop ends a worker that has nothing to do, by TERM. One that stays has a fault, which the report tells.
func (b *bench) stop(w *worker) {
	if w == nil {
		return
	}
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.ended:
	case <-time.After(patience):
		b.stubborn = true
	}
	w.kill()
}

// kill ends the worker and all of its tree at once.
func (w *worker) kill() {
	if w == nil {
		return
	}
	tree, _ := processes(w.cmd.Process.Pid)
	_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
	for _, p := range tree { // children in groups of their own
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	<-w.ended
}

// alive returns an error if the worker has ended.
func (w *worker) alive() error {
	select {
	case <-w.ended:
		return fmt.Errorf("worker ended (%v); see %s", w.err, w.logged)
	default:
		return nil
	}
}
