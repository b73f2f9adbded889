package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
)

// fakeNode is what a test says it is.
type fakeNode struct {
	live, ready bool
	reason      string
	asked       []string
}

func (n *fakeNode) Live() (bool, string)       { return n.live, n.reason }
func (n *fakeNode) Ready() (bool, string)      { return n.ready, n.reason }
func (n *fakeNode) Status(context.Context) any { return map[string]string{"node": "w@host"} }
func (n *fakeNode) Reload(reason string)       { n.asked = append(n.asked, "reload: "+reason) }
func (n *fakeNode) Reloads() any               { return map[string]int{"asked": 1} }
func (n *fakeNode) Drain(reason string)        { n.asked = append(n.asked, "drain: "+reason) }

func TestRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		node   fakeNode
		token  string
		method string
		path   string
		auth   string
		status int
		body   string
		asked  string
	}{
		"alive":                  {node: fakeNode{live: true, reason: "ok"}, path: "/livez", status: 200, body: "ok\n"},
		"stalled":                {node: fakeNode{reason: "no progress for 2m"}, path: "/livez", status: 503, body: "no progress for 2m\n"},
		"consuming":              {node: fakeNode{ready: true, reason: "consuming celery"}, path: "/readyz", status: 200, body: "consuming celery\n"},
		"draining":               {node: fakeNode{reason: "draining: signal SIGTERM"}, path: "/readyz", status: 503, body: "draining: signal SIGTERM\n"},
		"status":                 {path: "/status", status: 200, body: "{\n  \"node\": \"w@host\"\n}\n"},
		"how reloads went":       {path: "/reload", status: 200, body: "{\n  \"asked\": 1\n}\n"},
		"metrics":                {path: "/metrics", status: 200, body: "metrics here"},
		"index":                  {path: "/", status: 200},
		"nothing else":           {path: "/debug/pprof", status: 404},
		"HEAD for curl -I":       {node: fakeNode{live: true}, method: "HEAD", path: "/livez", status: 200},
		"no change by GET":       {token: "s3cret", path: "/drain", auth: "Bearer s3cret", status: 405},
		"read only by default":   {method: "POST", path: "/drain", auth: "Bearer ", status: 403, body: "read only: admin.token is not set\n"},
		"no token sent":          {token: "s3cret", method: "POST", path: "/drain", status: 401},
		"wrong token":            {token: "s3cret", method: "POST", path: "/drain", auth: "Bearer s3cre", status: 401},
		"other scheme":           {token: "s3cret", method: "POST", path: "/reload", auth: "Basic s3cret", status: 401},
		"drain":                  {token: "s3cret", method: "POST", path: "/drain", auth: "Bearer s3cret", status: 202, body: "drain begun\n", asked: "drain: admin request"},
		"reload":                 {token: "s3cret", method: "POST", path: "/reload", auth: "bearer s3cret", status: 202, body: "reload begun\n", asked: "reload: admin request"},
		"livez is not for POST":  {method: "POST", path: "/livez", status: 405},
		"status is not for POST": {token: "s3cret", method: "POST", path: "/status", auth: "Bearer s3cret", status: 405},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Listen("127.0.0.1:0", Options{Node: &c.node, Token: func() string { return c.token }, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "metrics here")
			})})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			if c.method == "" {
				c.method = http.MethodGet
			}
			r := httptest.NewRequest(c.method, c.path, nil)
			if c.auth != "" {
				r.Header.Set("Authorization", c.auth)
			}
			w := httptest.NewRecorder()
			s.routes().ServeHTTP(w, r)
			if w.Code != c.status || c.body != "" && w.Body.String() != c.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, c.status, c.body)
			}
			if got := strings.Join(c.node.asked, "; "); got != c.asked {
				t.Errorf("asked of the node: %q, want %q", got, c.asked)
			}
		})
	}
}

func TestServesEveryLoopbackAndEndsWithStop(t *testing.T) {
	s, err := Listen("localhost:0", Options{Node: &fakeNode{live: true, reason: "ok"}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run() }()
	client := &http.Client{Transport: &http.Transport{}}
	for _, l := range s.listeners {
		resp, err := client.Get("http://" + l.Addr().String() + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "ok\n" {
			t.Errorf("%s: %q", l.Addr(), body)
		}
	}
	client.CloseIdleConnections()
	s.Stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	s.Stop() // a second time is harmless
}

func TestAllAddressesAreDualStack(t *testing.T) {
	s, err := Listen(":0", Options{Node: &fakeNode{live: true, reason: "ok"}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run() }()
	defer func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	_, port, _ := net.SplitHostPort(s.Addr())
	for _, host := range []string{"127.0.0.1", "::1"} {
		conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			if host == "::1" && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Skipf("no IPv6 here: %v", err)
			}
			t.Fatal(err)
		}
		conn.Close()
	}
}

func TestBusyPortIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, addr := range []string{l.Addr().String(), strings.Replace(l.Addr().String(), "127.0.0.1", "localhost", 1)} {
		if _, err := Listen(addr, Options{Node: &fakeNode{}}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
