package celerytest

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and a Redis and does to the connections what networks do.
type Proxy struct {
	Addr     string // where clients connect
	t        testing.TB
	target   string
	listener net.Listener

	mu       sync.Mutex
	conns    map[*link]struct{}
	wg       sync.WaitGroup
	requests [][]string
	cut      cut
	hole     bool
	refuse   bool
	answer   string
	delay    time.Duration
	cuts     int           // how often all were ended
	changed  chan struct{} // closed and replaced when hole changes
	closed   bool
}

// When says at which side of a command a connection is cut.
type When int

// The places of a cut. The server never sees the commands that follow in the same pipeline, and the client sees the
// replies to those before.
const (
	BeforeRequest When = iota + 1 // the server never sees the command
	BeforeReply                   // the server does the command, the client never sees the reply
	AfterReply                    // the client sees the reply, and then the end
	LostRequest                   // as BeforeRequest, but the connection stays open and nobody hears anything on it any more
	LostReply                     // as BeforeReply, in the same way
)

func (w When) String() string {
	return [...]string{"never", "before request", "before reply", "after reply", "lost request", "lost reply"}[w]
}

type cut struct {
	at   int // number of the request, from 1; 0: no cut
	when When
	done chan struct{}
}

// StartProxy starts a proxy to a host:port. Commands are understood if they are plain RESP; TLS goes through unread.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), t: t, target: target, listener: l, conns: map[*link]struct{}{}, changed: make(chan struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// URL is the redis:// URL of a database behind the proxy.
func (p *Proxy) URL(db int) string { return fmt.Sprintf("redis://%s/%d", p.Addr, db) }

// Requests returns the commands that came since the start or the last CutAt, without the handshake of connections
// (HELLO, AUTH, SELECT, CLIENT).
func (p *Proxy) Requests() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// CutAt cuts the connection of the n-th command from now, counted from 1 over all connections without their
// handshakes. The channel is closed when that has happened.
func (p *Proxy) CutAt(n int, when When) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = nil
	p.cut = cut{at: n, when: when, done: make(chan struct{})}
	return p.cut.done
}

// CutAll ends all connections that there are. New ones are served.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts++ // for one that was accepted and is not there yet
	for l := range p.conns {
		l.end()
	}
}

// Refuse ends new connections at once, while on. Those that there are go on.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Answer ends the connections that there are and answers each command on new ones with a line of RESP instead of asking Redis, as a provider
// does whose quota is used up. Empty: Redis is asked again.
func (p *Proxy) Answer(line string) {
	p.mu.Lock()
	p.answer = line
	p.mu.Unlock()
	p.CutAll()
}

// BlackHole lets nothing through, while on: connections stay open, new ones are accepted, and nobody hears anything.
// What was sent meanwhile arrives when it is switched off.
func (p *Proxy) BlackHole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = on
	close(p.changed)
	p.changed = make(chan struct{})
}

// Delay holds each command and each reply back for d.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Connections is the number of open connections.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.CutAll()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse, answer, cuts := p.refuse || p.closed, p.answer, p.cuts
		p.mu.Unlock()
		if refuse {
			reset(client)
			continue
		}
		if answer != "" {
			p.serve(&link{p: p, client: client, server: client, ended: make(chan struct{})}, cuts, func(l *link) { l.answer(answer) })
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			reset(client)
			continue
		}
		p.serve(&link{p: p, client: client, server: server, ended: make(chan struct{})}, cuts, (*link).carry)
	}
}

// serve lets a connection in, unless all were ended since it was accepted.
func (p *Proxy) serve(l *link, cuts int, how func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.cuts != cuts {
		l.end()
		return
	}
	p.conns[l] = struct{}{}
	p.wg.Go(func() {
		how(l)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, l)
	})
}

// asked notes a command and tells whether its connection is to be cut at it.
func (p *Proxy) asked(args []string) When {
	switch strings.ToUpper(args[0]) {
	case "HELLO", "AUTH", "SELECT", "CLIENT":
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, args)
	if p.cut.at != len(p.requests) {
		return 0
	}
	return p.cut.when
}

func (p *Proxy) wasCut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut.at = 0
	close(p.cut.done)
}
