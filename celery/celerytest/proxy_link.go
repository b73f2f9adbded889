package celerytest

import (
	"bufio"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// link is one connection through a proxy.
type link struct {
	p              *Proxy
	client, server net.Conn
	once           sync.Once
	ended          chan struct{}
	mu             sync.Mutex
	waiting        []When // one for each command whose reply has not come
}

// end closes both sides, hard, so that both see a reset as after a crash. When the client sees it nothing more goes to the server.
func (l *link) end() {
	l.once.Do(func() {
		reset(l.server)
		reset(l.client)
		close(l.ended)
	})
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// carry serves both directions.
func (l *link) carry() {
	var both sync.WaitGroup
	both.Go(l.requests)
	both.Go(l.replies)
	both.Wait()
	if slices.ContainsFunc(l.waiting, func(w When) bool { return w == BeforeRequest || w == LostRequest }) {
		l.p.wasCut() // the client gave up before the replies had come that were to come before
	}
}

// answer says the same to each command.
func (l *link) answer(line string) {
	defer l.end()
	in := bufio.NewReader(l.client)
	for {
		if _, _, err := readCommand(in); err != nil {
			return
		}
		if _, err := io.WriteString(l.client, line+"\r\n"); err != nil {
			return
		}
	}
}

// requests carries commands to the server, up to the one where the connection is to be cut.
func (l *link) requests() {
	defer l.end()
	in := bufio.NewReader(l.client)
	if first, err := in.Peek(1); err != nil || first[0] != '*' {
		l.copy(l.server, in)
		return
	}
	for {
		raw, args, err := readCommand(in)
		if err != nil {
			return
		}
		when := l.p.asked(args)
		if !l.expect(when) {
			l.cut(when)
		} else if when != BeforeRequest && when != LostRequest && !l.pass(l.server, raw) {
			return
		}
		if when != 0 {
			_, _ = io.Copy(io.Discard, in) // until the client has seen the end
			return
		}
	}
}

// expect notes that a reply is to come, or a cut. It returns false if the cut is due at once.
func (l *link) expect(when When) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if (when == BeforeRequest || when == LostRequest) && len(l.waiting) == 0 {
		return false
	}
	l.waiting = append(l.waiting, when)
	return true
}

// answered takes the place of a reply out of the queue, and with it a cut that was waiting for that reply.
func (l *link) answered() (when When) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return 0
	}
	when, l.waiting = l.waiting[0], l.waiting[1:]
	if len(l.waiting) == 1 {
		switch l.waiting[0] {
		case BeforeRequest:
			when, l.waiting = AfterReply, nil
		case LostRequest:
			when, l.waiting = LostRequest, nil
		}
	}
	return when
}

// replies carries what the server says to the client, and finds the reply of each command. Messages of a subscription
// answer no command; they are taken for replies, which matters only to who cuts a subscribed connection.
func (l *link) replies() {
	in := bufio.NewReader(l.server)
	for {
		raw, err := readReply(in)
		if err == errNotRESP {
			l.copy(l.client, in)
		}
		if err != nil {
			l.end()
			return
		}
		when := l.answered()
		if when != BeforeReply && when != LostReply && !l.pass(l.client, raw) {
			l.end()
			return
		}
		if when != 0 {
			l.cut(when)
			return
		}
	}
}

// cut ends the server's side at once and the client's in order, so that the client reads what was passed before; or it leaves both open,
// silent until the client gives up.
func (l *link) cut(when When) {
	if when != LostRequest && when != LostReply {
		_ = l.client.(*net.TCPConn).CloseWrite()
		reset(l.server)
	}
	l.p.wasCut()
}

// copy carries what is not RESP.
func (l *link) copy(to net.Conn, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !l.pass(to, buf[:n]) || err != nil {
			return
		}
	}
}

// pass writes b, after the delay and when there is no black hole. It tells whether the connection goes on.
func (l *link) pass(to net.Conn, b []byte) bool {
	for {
		l.p.mu.Lock()
		hole, delay, changed := l.p.hole, l.p.delay, l.p.changed
		l.p.mu.Unlock()
		if hole {
			select {
			case <-changed:
				continue
			case <-l.ended:
				return false
			}
		}
		if delay > 0 {
			timer := time.NewTimer(delay)
			select {
			case <-timer.C:
			case <-l.ended:
				timer.Stop()
				return false
			}
		}
		_, err := to.Write(b)
		return err == nil
	}
}
