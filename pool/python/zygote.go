package python

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/pool/child"
)

// errZygoteGone says that the zygote ended before it answered.
var errZygoteGone = errors.New("the zygote is gone")

// zygote is the process that imported the application. One goroutine, serve, reads what it says.
type zygote struct {
	*launched
	log  hclog.Logger
	info Info
	out  *output
	done chan struct{} // closed when the process is gone, and its children were handed over
	wake chan struct{} // of an application that sleeps: closed when a zygote is needed again; guarded by the application

	wmu sync.Mutex // one frame after the other

	patience func() time.Duration // how long it may give no sign of itself

	mu       sync.Mutex
	gone     bool
	sign     time.Time // when it said something, or had nothing to say
	requests map[uint32]chan forked
	asked    map[uint32]chan []byte
	next     uint32
	children map[int]*process
	news     []news // to be sent yet
	telling  bool   // somebody sends it
}

// news is what the zygote is told that does not have to know it at once.
type news struct {
	kind   kind
	fields map[string]any // nil: none
	sent   func()         // called when it is written, or never will be
}

// forked is the answer to a request.
type forked struct {
	proc *process
	err  error
}

// startZygote starts the interpreter and waits until the application is imported.
func startZygote(ctx context.Context, o Options, patience func() time.Duration) (*zygote, error) {
	l, err := launch(o, o.Mode, -1)
	if err != nil {
		return nil, err
	}
	z := &zygote{launched: l, log: o.Log, patience: patience, done: make(chan struct{}), requests: map[uint32]chan forked{},
		asked: map[uint32]chan []byte{}, children: map[int]*process{}}
	whose := []any{"pid", l.proc.PID(), "process", "zygote"}
	z.out = readOutput(l.output, levels[o.LogLevel], o.Log.With(whose...), o.Printed.With(whose...))
	ctx, cancel := context.WithTimeoutCause(ctx, o.StartTimeout, errStartTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == errStartTimeout {
			z.sayWhere()
		}
		l.proc.Kill()
	})
	defer stop()
	reader := bufio.NewReaderSize(l.conn, 64<<10)
	if err := z.greet(ctx, reader, o); err != nil {
		l.proc.Kill()
		z.out.wait()
		var failed *StartError
		if errors.As(err, &failed) {
			failed.Exit, failed.Tail = l.proc.Exit(), z.out.tail()
		}
		l.close()
		return nil, err
	}
	go z.serve(reader)
	return z, nil
}

// errStartTimeout is why a start ends that takes too long.
var errStartTimeout = errors.New("start timeout")

// sayWhere has the process print where it is, for the error, and end.
func (z *zygote) sayWhere() {
	_ = child.Signal(z.proc.PID(), syscall.SIGABRT)
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	select {
	case <-z.proc.Done():
	case <-timer.C:
	}
}

// greet reads the report on the application.
func (z *zygote) greet(ctx context.Context, r *bufio.Reader, o Options) error {
	k, body, err := readFrame(r, maxFrame)
	switch {
	case context.Cause(ctx) == errStartTimeout:
		return &StartError{Doing: "import " + o.App, Type: typeTimeout, Message: "no answer within the start timeout of " + o.StartTimeout.String()}
	case ctx.Err() != nil:
		return fmt.Errorf("start python application: %w", context.Cause(ctx))
	case err != nil:
		return &StartError{Doing: "start " + o.Interpreter}
	case k == kindFailed:
		failed := new(StartError)
		if err := json.Unmarshal(body, failed); err != nil {
			return fmt.Errorf("start python application: read its report: %w", err)
		}
		return failed
	case k != kindHello:
		return fmt.Errorf("start python application: %w: kind %d instead of hello", ErrMalformed, k)
	}
	z.info, err = parseInfo(body)
	return err
}

func (z *zygote) send(k kind, body []byte, files ...*os.File) error {
	z.wmu.Lock()
	defer z.wmu.Unlock()
	frame := appendFrame(nil, k, len(body), body)
	if len(files) == 0 {
		_, err := z.conn.Write(frame)
		return err
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	_, _, err := z.conn.WriteMsgUnix(frame, syscall.UnixRights(fds...), nil)
	return err
}

// fork asks for a child that has the given files as channel, lifeline and output.
func (z *zygote) fork(ctx context.Context, slot int, files ...*os.File) (*process, error) {
	answer := make(chan forked, 1)
	z.mu.Lock()
	if z.gone {
		z.mu.Unlock()
		return nil, errZygoteGone
	}
	z.next++
	request := z.next
	if len(z.requests) == 0 {
		z.sign = time.Now()
	}
	z.requests[request] = answer
	z.mu.Unlock()
	watch := z.expect(func() bool {
		_, waits := z.requests[request]
		return waits
	})
	body := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, request), uint32(slot))
	if err := z.send(kindFork, body, files...); err != nil {
		return nil, fmt.Errorf("%w: %w", errZygoteGone, err)
	}
	select {
	case f := <-answer:
		watch.Stop()
		return f.proc, f.err
	case <-ctx.Done(): // a child that comes yet finds its channel closed and ends
		return nil, context.Cause(ctx)
	}
}

// expect sees to it that something does not wait for ever: waits, which is called with mu held, tells whether it still does.
func (z *zygote) expect(waits func() bool) *time.Timer {
	return time.AfterFunc(z.patience(), func() { z.overdue(waits, false) })
}

// overdue ends a zygote that is waited for and gives no sign of itself for longer than it may: a receiver of the application hangs,
// and without forks, sooner or later, so does the node. Celery's would, too. Before that it is asked again, a moment later: who was stopped, or
// the machine with both, finds the time over and the answer unread.
func (z *zygote) overdue(waits func() bool, again bool) {
	z.mu.Lock()
	waiting := waits() && !z.gone
	limit, silence := z.patience(), time.Since(z.sign)
	z.mu.Unlock()
	switch {
	case !waiting:
	case silence < limit:
		time.AfterFunc(limit-silence, func() { z.overdue(waits, false) })
	case !again:
		time.AfterFunc(limit/10, func() { z.overdue(waits, true) })
	default:
		z.log.Error("zygote does not answer", "pid", z.proc.PID(), "limit", limit,
			"found", "a receiver of a Celery signal, or a remote control command of the application, does not return: where it hangs is printed next",
			"next", "end the zygote, its children go on; import the application again")
		z.sayWhere()
		z.proc.Kill()
	}
}

// serve reads frames until the zygote is gone, and then sees to its children.
func (z *zygote) serve(r *bufio.Reader) {
	for {
		k, body, err := readFrame(r, 64<<20)
		if err == nil {
			z.mu.Lock()
			z.sign = time.Now()
			z.mu.Unlock()
			err = z.handle(k, body)
		}
		if err != nil {
			break
		}
	}
	z.proc.Kill()
	z.mu.Lock()
	z.gone = true
	for id, answer := range z.requests {
		answer <- forked{err: errZygoteGone}
		delete(z.requests, id)
	}
	for id, answer := range z.asked {
		close(answer)
		delete(z.asked, id)
	}
	for _, p := range z.children {
		go p.awaitAsOrphan()
	}
	z.mu.Unlock()
	z.out.wait()
	z.close()
	close(z.done)
}

func (z *zygote) handle(k kind, body []byte) error {
	switch k {
	case kindForked:
		w, err := words(body, 3)
		if err != nil {
			return err
		}
		z.forked(w[0], int(w[1]), syscall.Errno(w[2]))
	case kindExited:
		w, err := words(body, 3)
		if err != nil {
			return err
		}
		pid := int(w[0])
		z.mu.Lock()
		p := z.children[pid]
		z.mu.Unlock()
		if p != nil {
			p.exited(child.Exit{Code: int(int32(w[1])), Signal: syscall.Signal(w[2])})
		}
		go func() { _ = z.send(kindReap, body[:4]) }() // the zygote may not listen before it is read: here
	case kindReaped:
		if len(body) != 12 {
			return fmt.Errorf("%w: reaped of %d bytes", ErrMalformed, len(body))
		}
		pid := int(binary.BigEndian.Uint32(body))
		z.mu.Lock()
		p := z.children[pid]
		delete(z.children, pid)
		z.mu.Unlock()
		if p != nil {
			p.reaped(int64(binary.BigEndian.Uint64(body[4:])))
		}
	case kindAnswer:
		return z.answered(body)
	case kindHeard:
	default:
		return fmt.Errorf("%w: kind %d", ErrMalformed, k)
	}
	return nil
}

func (z *zygote) forked(request uint32, pid int, errno syscall.Errno) {
	answer := forked{}
	if errno != 0 {
		answer.err = fmt.Errorf("fork a python child: %w", errno)
	} else {
		answer.proc = newProcess(pid)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if pid > 0 {
		z.children[pid] = answer.proc
	}
	if c, ok := z.requests[request]; ok {
		delete(z.requests, request)
		c <- answer
	}
}

// quit ends the zygote: it sends Celery's worker_shutdown and leaves.
func (z *zygote) quit(ctx context.Context, grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	z.tell(news{kindQuit, nil, func() {}})
	select {
	case <-z.done:
		return
	case <-timer.C:
	case <-ctx.Done():
	}
	z.proc.Kill()
	<-z.done
}

// event has a signal of Celery's parent process sent.
func (z *zygote) event(fields map[string]any, sent func()) { z.tell(news{kindEvent, fields, sent}) }

// tell sends n after what was told before. It does not wait: the receivers of a signal may take their time, and the zygote does not
// listen meanwhile.
func (z *zygote) tell(n news) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.news = append(z.news, n)
	if !z.telling {
		z.telling = true
		go z.sendNews()
	}
}

// sendNews ends when there is none, or nobody to hear it.
func (z *zygote) sendNews() {
	var err error
	for {
		z.mu.Lock()
		if len(z.news) == 0 || z.gone || err != nil {
			lost := z.news
			z.news, z.telling = nil, false
			z.mu.Unlock()
			for _, n := range lost {
				n.sent()
			}
			if len(lost) > 0 {
				z.log.Warn("signals not sent: the zygote is gone", "signals", len(lost))
			}
			return
		}
		n := z.news[0]
		z.news = z.news[1:]
		z.mu.Unlock()
		var body []byte
		if n.fields != nil {
			body, err = json.Marshal(n.fields)
		}
		if err == nil {
			err = z.write(n.kind, body)
		}
		if err != nil && n.kind == kindEvent {
			z.log.Warn("signal not sent to the zygote", "signal", n.fields["name"], "error", err)
		}
		n.sent()
	}
}

// write sends a frame of news, for which others wait when the zygote has long not listened.
func (z *zygote) write(k kind, body []byte) error {
	written := false
	defer z.expect(func() bool { return !written }).Stop()
	err := z.send(k, body)
	z.mu.Lock()
	written = true
	z.mu.Unlock()
	return err
}
