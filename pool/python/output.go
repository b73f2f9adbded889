package python

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool/child"
)

const (
	maxLine    = 16 << 10 // bytes of a line that are kept
	maxRecord  = 64 << 10 // bytes of lines that stay together
	tailLines  = 20
	tailWidth  = 400
	togetherIn = 20 * time.Millisecond // lines of one record come within
)

// goesOn stands before a newline that does not end a record: boot.py puts it where several lines were written at once.
const goesOn = '\x1e'

// output makes log records of what a process prints. A goroutine reads; at the begin and the end of a task its slot does, so
// that every line is the task's that printed it.
type output struct {
	file    *os.File
	raw     syscall.RawConn
	level   hclog.Level  // of Celery's logging in the process
	log     hclog.Logger // for what came by it
	printed hclog.Logger // for the rest
	done    chan struct{}

	mu      sync.Mutex // guards what follows, and reading
	task    *celery.Task
	buffer  []byte
	line    []byte // has no end yet
	dropped int    // bytes of it
	record  record
	last    []string // lines, oldest first
	rest    func(fd uintptr)
}

func readOutput(file *os.File, level hclog.Level, log, printed hclog.Logger) *output {
	o := &output{file: file, level: level, log: log, printed: printed, done: make(chan struct{}), buffer: make([]byte, maxLine)}
	o.rest = o.takeWaiting
	o.raw, _ = file.SyscallConn() // of an open file there is one
	go o.run()
	return o
}

// begin says whose the lines are that come from now on.
func (o *output) begin(t *celery.Task) { o.turn(t) }

// end says that the task is over: all that it printed is logged.
func (o *output) end() { o.turn(nil) }

func (o *output) turn(t *celery.Task) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.raw.Control(o.rest)
	o.settle()
	o.task = t
}

// flush waits until everything that a dead process printed has been read; those that inherited its output may hold it
// open longer, so that what lies there by then is all.
func (o *output) flush() {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-o.done:
	case <-timer.C:
		o.drain()
	}
}

// drain reads and logs what lies in the pipe.
func (o *output) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.raw.Control(o.rest)
	o.settle()
}

// wait is flush with more patience, and ends the reading.
func (o *output) wait() {
	o.flush()
	o.stop()
}

// stop ends the reading, when what lies in the pipe has been read: it may have been printed a moment ago.
func (o *output) stop() {
	o.drain()
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
	for {
		ended := false
		err := o.raw.Read(func(fd uintptr) bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			n, err := o.take(fd, len(o.buffer))
			if errors.Is(err, syscall.EAGAIN) {
				return false
			}
			ended = n == 0
			if len(o.line) > 0 || !o.record.empty() { // what comes next may belong to it
				_ = o.file.SetReadDeadline(time.Now().Add(togetherIn))
			}
			return true
		})
		if err == nil && !ended {
			continue
		}
		o.mu.Lock()
		if ended || !o.waits() { // else it is this goroutine that is late, and what belongs to the record is there
			o.settle()
		}
		o.mu.Unlock()
		if ended || !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		_ = o.file.SetReadDeadline(time.Time{})
	}
}

// take reads once and logs the records that are complete.
func (o *output) take(fd uintptr, most int) (int, error) {
	n, err := syscall.Read(int(fd), o.buffer[:most])
	for errors.Is(err, syscall.EINTR) {
		n, err = syscall.Read(int(fd), o.buffer[:most])
	}
	if n <= 0 {
		return 0, err
	}
	for part := o.buffer[:n]; len(part) > 0; {
		end := bytes.IndexByte(part, '\n')
		if end < 0 {
			o.append(part)
			break
		}
		o.append(part[:end])
		o.endLine()
		part = part[end+1:]
	}
	return n, nil
}

// takeWaiting reads what lies in the pipe.
func (o *output) takeWaiting(fd uintptr) {
	for left := waiting(fd); left > 0; {
		n, err := o.take(fd, min(left, len(o.buffer)))
		if err != nil || n == 0 {
			return
		}
		left -= n
	}
}

// waits tells whether something lies in the pipe.
func (o *output) waits() (some bool) {
	_ = o.raw.Control(func(fd uintptr) { some = waiting(fd) > 0 })
	return some
}

func (o *output) append(part []byte) {
	kept := min(len(part), maxLine-len(o.line))
	o.line = append(o.line, part[:kept]...)
	o.dropped += len(part) - kept
}

func (o *output) endLine() {
	text := string(o.line)
	var more bool
	if o.dropped == 0 {
		text, more = strings.CutSuffix(text, string(goesOn))
	}
	text = child.Printable(strings.Trim(text, "\r"))
	if o.dropped > 0 {
		text = fmt.Sprintf("%s… (%d bytes more)", text, o.dropped)
	}
	o.line, o.dropped = o.line[:0], 0
	text, level := cutPrefix(text)
	if text == "" && !o.record.inTraceback() && !o.record.goesOn {
		return
	}
	o.keep(text)
	if !o.record.takes(text, level) {
		o.emit()
	}
	o.record.add(text, level, more)
	if o.record.whole {
		o.emit()
	}
}

// settle logs what waited for more.
func (o *output) settle() {
	if len(o.line) > 0 {
		o.endLine() // a line without an end, yet: as good as one
	}
	o.emit()
}

func (o *output) keep(line string) {
	if line == "" {
		return
	}
	if len(line) > tailWidth {
		line = strings.ToValidUTF8(line[:tailWidth], "") + "…"
	}
	if len(o.last) == tailLines {
		copy(o.last, o.last[1:])
		o.last = o.last[:tailLines-1]
	}
	o.last = append(o.last, line)
}

func (o *output) emit() {
	if o.record.empty() {
		return
	}
	level, message, fields := o.record.parse()
	if o.task != nil {
		fields = append(fields, "task", o.task.DisplayName(), "id", o.task.ID)
	}
	log := o.log
	if o.record.level < o.level { // no level of Celery's, or of a logger with a level of its own
		log = o.printed
	}
	log.Log(level, message, fields...)
	o.record = record{}
}
