package python

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
)

// Child is a Python process that runs one task at a time. It belongs to one slot, which alone calls it, but for PID
// and Done.
type Child struct {
	app      *Application
	slot     int
	conn     *net.UnixConn
	lifeline *os.File
	proc     *process
	out      *output
	log      hclog.Logger

	// of the slot's goroutine
	reader *bufio.Reader
	frame  []byte
	maxRSS int64
	broken bool

	leaving string // what the child said before the task ended it

	running atomic.Uint64 // tag of the task that runs; written under mu

	mu    sync.Mutex // guards what follows, and writing to conn
	task  *celery.Task
	asked syscall.Signal // that was sent to the task because somebody asked for it; 0: none
}

var (
	_ pool.Executor = (*Child)(nil)
	_ pool.Process  = (*Child)(nil)
	_ pool.Signaler = (*Child)(nil)
)

// PID is the process id of the child.
func (c *Child) PID() int { return c.proc.pid }

// Done is closed when the process is gone.
func (c *Child) Done() <-chan struct{} { return c.proc.done }

// greet waits until the child is ready. If it fails nothing is left of the child.
func (c *Child) greet(ctx context.Context, printed *os.File) error {
	c.log = c.app.o.Log.With("slot", c.slot, "pid", c.proc.pid)
	c.out = readOutput(printed, levels[c.app.o.LogLevel], c.log, c.app.o.Printed.With("slot", c.slot, "pid", c.proc.pid))
	c.reader = newReader(c)
	child.PreferAsVictim(c.proc.pid, c.app.options().OOMScoreAdj)
	stop := context.AfterFunc(ctx, func() { c.proc.kill(celery.LossShutdown) })
	defer stop()
	k, body, err := readFrame(c.reader, maxFrame)
	if err == nil && k == kindHello {
		var hello struct{ Version int }
		if err = json.Unmarshal(body, &hello); err == nil && hello.Version != protocolVersion {
			err = fmt.Errorf("%w: protocol version %d instead of %d", ErrMalformed, hello.Version, protocolVersion)
		}
		if err == nil {
			return nil
		}
	}
	failed := new(StartError)
	if err == nil && k == kindFailed && json.Unmarshal(body, failed) == nil {
		err = failed
	}
	c.proc.kill(celery.LossProtocol)
	c.await()
	c.free()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	exit, _ := c.proc.state()
	if failed.Type == "" {
		failed.Doing = "initialize the child"
		if err != nil && !isEnd(err) {
			failed.Type, failed.Message = "protocol", err.Error()
		}
		err = failed
	}
	failed.Exit, failed.Tail = exit, c.out.tail()
	return err
}

// await waits until the process is gone, for as long as a killed process may reasonably take.
func (c *Child) await() bool {
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-c.proc.done:
		return true
	case <-timer.C:
		return false
	}
}

// free lets go of everything that the child had from us. What its group left behind dies of the lifeline.
func (c *Child) free() {
	c.conn.Close()
	c.lifeline.Close()
	c.out.stop()
}

// Close tells the child to end, which sends Celery's worker_process_shutdown, and kills it when it takes too long.
func (c *Child) Close(ctx context.Context) error {
	defer c.free()
	var linger []byte
	if c.app.warm.Load() {
		linger = []byte{1}
	}
	c.mu.Lock()
	_, err := c.conn.Write(appendFrame(nil, kindQuit, len(linger), linger))
	c.mu.Unlock()
	if err == nil && !c.broken {
		timer := time.NewTimer(c.app.o.CloseTimeout)
		defer timer.Stop()
		select {
		case <-c.proc.done:
			return nil
		case <-timer.C:
			c.log.Warn("child does not end by itself", "limit", c.app.o.CloseTimeout, "next", "kill")
		case <-ctx.Done():
		}
	}
	c.proc.kill(celery.LossShutdown)
	if !c.await() {
		return fmt.Errorf("close python child: process %d does not die", c.proc.pid)
	}
	return nil
}

func isEnd(err error) bool {
	return !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrFrameTooLarge)
}
