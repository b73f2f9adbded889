package python

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
)

const (
	maxLine    = 16 << 10 // bytes of a line that are kept
	maxRecord  = 64 << 10 // bytes of lines that stay together
	tailLines  = 20
	tailWidth  = 400
	togetherIn = 20 * time.Millisecond // lines of one record come within
)

// output makes log records of what a process prints. One goroutine reads.
type output struct {
	file *os.File
	raw  syscall.RawConn
	log  hclog.Logger
	done chan struct{}

	task atomic.Pointer[celery.Task] // that runs
	idle atomic.Bool                 // the reader waits, and has nothing in its buffer
	left int                         // of waiting; owned by the slot, through look
	look func(fd uintptr)

	mu   sync.Mutex
	last []string // the last lines, oldest first
}

func readOutput(file *os.File, log hclog.Logger) *output {
	o := &output{file: file, log: log, done: make(chan struct{})}
	o.raw, _ = file.SyscallConn()
	o.look = func(fd uintptr) { o.left = waiting(fd) }
	go o.run()
	return o
}

// begin says whose the lines are that come from now on.
func (o *output) begin(t *celery.Task) { o.task.Store(t) }

// end says that the task is over. Lines that it printed and that are still on their way are waited for, a little.
func (o *output) end() {
	for range 20 {
		if o.idle.Load() {
			o.left = 0
			if o.raw == nil || o.raw.Control(o.look) != nil || o.left == 0 {
				break
			}
		}
		time.Sleep(50 * time.Microsecond)
	}
	o.task.Store(nil)
}

// flush waits until everything that a dead process printed has been read; those that inherited its output may hold it
// open longer.
func (o *output) flush() {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-o.done:
	case <-timer.C:
	}
}

// wait is flush with more patience, and ends the reading.
func (o *output) wait() {
	o.flush()
	o.stop()
}

// stop ends the reading.
func (o *output) stop() {
	o.file.Close()
	<-o.done
}

// tail are the last lines.
func (o *output) tail() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.last...)
}

func (o *output) run() {
	defer close(o.done)
	r := bufio.NewReaderSize(o.file, maxLine)
	var pending record
	for {
		o.idle.Store(r.Buffered() == 0)
		if r.Buffered() == 0 && !pending.empty() {
			_ = o.file.SetReadDeadline(time.Now().Add(togetherIn))
		}
		line, err := r.ReadSlice('\n')
		o.idle.Store(false)
		text := string(line)
		if errors.Is(err, bufio.ErrBufferFull) {
			more, dropErr := drop(r)
			text, err = fmt.Sprintf("%s… (%d bytes more)", text, more), dropErr
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = o.file.SetReadDeadline(time.Time{})
			o.emit(&pending)
			if text == "" {
				continue
			}
			err = nil // a line without an end, yet: as good as one
		}
		if text = strings.ToValidUTF8(strings.TrimRight(text, "\r\n"), "\uFFFD"); text != "" || pending.inTraceback() {
			text, level := cutPrefix(text)
			o.keep(text)
			task := o.task.Load()
			if !pending.takes(text, level, task) {
				o.emit(&pending)
			}
			pending.add(text, level, task)
		}
		if err != nil {
			o.emit(&pending)
			return
		}
	}
}

// drop throws the rest of a line away and counts it.
func drop(r *bufio.Reader) (int, error) {
	n := 0
	for {
		line, err := r.ReadSlice('\n')
		n += len(line)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
	}
}

func (o *output) keep(line string) {
	if len(line) > tailWidth {
		line = strings.ToValidUTF8(line[:tailWidth], "") + "…"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.last) == tailLines {
		copy(o.last, o.last[1:])
		o.last = o.last[:tailLines-1]
	}
	o.last = append(o.last, line)
}

func (o *output) emit(r *record) {
	if r.empty() {
		return
	}
	level, message, fields := r.parse()
	if r.task != nil {
		fields = append(fields, "task", r.task.DisplayName(), "id", r.task.ID)
	}
	o.log.Log(level, message, fields...)
	*r = record{}
}
