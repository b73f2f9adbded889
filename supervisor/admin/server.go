package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Node is what the server asks of the node. All methods may be called at any time, from many goroutines.
type Node interface {
	Live() (ok bool, reason string)  // making progress
	Ready() (ok bool, reason string) // consuming
	Status(ctx context.Context) any  // goes out as JSON; nothing secret
	Reload(reason string)            // reads the settings again, imports the application anew; returns at once
	Reloads() any                    // how that went; goes out as JSON
	Drain(reason string)             // begins the end; returns at once
}

// Options is what a server needs. Metrics may be nil.
type Options struct {
	Node    Node
	Name    string // the node's, and
	Home    string // its settings file, or the directory that it works in: so that an answer says whose it is
	Metrics http.Handler
	Token   func() string // that POST asks for; empty: nobody may change anything
	Log     hclog.Logger
}

// Server serves until it is stopped.
type Server struct {
	o         Options
	http      http.Server
	listeners []net.Listener
	stop      sync.Once
	stopped   chan struct{}
}

// Deadlines of a request. A scrape or a status may ask Redis, which may be slow.
const (
	headerTimeout = 5 * time.Second
	replyTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	askTimeout    = 5 * time.Second
	closeTimeout  = 2 * time.Second
	maxHeader     = 16 << 10
)

// Listen opens the address: host:port, ":8080" for every address of both IP versions, "localhost:8080" for both loopbacks.
func Listen(address string, o Options) (*Server, error) {
	s := &Server{o: o, stopped: make(chan struct{})}
	if s.o.Log == nil {
		s.o.Log = hclog.NewNullLogger()
	}
	var err error
	if s.listeners, err = listen(address); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	s.http = http.Server{
		Handler: s.signed(s.routes()), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: replyTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: s.o.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
}

// listen opens one listener, or one for each loopback address. Without IPv6 the other one does.
func listen(address string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "localhost" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	four, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	_, port, _ = net.SplitHostPort(four.Addr().String()) // port 0 was made a real one
	six, err := net.Listen("tcp6", net.JoinHostPort("::1", port))
	if err != nil {
		return []net.Listener{four}, nil
	}
	return []net.Listener{four, six}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listeners[0].Addr().String() }

// Run serves until Stop is called. Requests under way get a moment to end.
func (s *Server) Run() error {
	var wait sync.WaitGroup
	failures := make([]error, len(s.listeners))
	for i, l := range s.listeners {
		wait.Go(func() {
			if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				failures[i] = err
				s.Stop()
			}
		})
	}
	<-s.stopped
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	wait.Wait()
	return errors.Join(failures...)
}

// Stop ends Run, and frees the address if Run was never called. It does not wait, and may be called again.
func (s *Server) Stop() {
	s.stop.Do(func() {
		close(s.stopped)
		for _, l := range s.listeners {
			_ = l.Close()
		}
	})
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", health(s.o.Node.Live))
	mux.HandleFunc("GET /readyz", health(s.o.Node.Ready))
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /reload", func(w http.ResponseWriter, _ *http.Request) { s.document(w, s.o.Node.Reloads()) })
	if s.o.Metrics != nil {
		mux.Handle("GET /metrics", s.o.Metrics)
	}
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("POST /reload", s.change("reload", s.o.Node.Reload))
	mux.HandleFunc("POST /drain", s.change("drain", s.o.Node.Drain))
	return mux
}

// Headers of each answer: whose it is. Their values are escaped as in the path of a URL.
const (
	HeaderNode = "Agensium-Node"
	HeaderHome = "Agensium-Home"
)

func (s *Server) signed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(HeaderNode, url.PathEscape(s.o.Name))
		w.Header().Set(HeaderHome, url.PathEscape(s.o.Home))
		h.ServeHTTP(w, r)
	})
}

func health(ask func() (bool, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		ok, reason := ask()
		plain(w)
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, reason)
	}
}

func plain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	s.document(w, s.o.Node.Status(ctx))
}

func (s *Server) document(w http.ResponseWriter, of any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(of); err != nil {
		s.o.Log.Debug("write an answer", "error", err)
	}
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	plain(w)
	fmt.Fprint(w, "agensium\n\nGET  /livez    making progress\nGET  /readyz   consuming\nGET  /metrics  for Prometheus\nGET  /status   JSON\nGET  /reload   how reloads went: JSON\nPOST /reload   with admin.token\nPOST /drain    with admin.token\n")
}

// change lets somebody with the token do something.
func (s *Server) change(what string, do func(reason string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		plain(w)
		switch token := s.token(); {
		case token == "":
			http.Error(w, "read only: admin.token is not set", http.StatusForbidden)
		case !authorized(r, token):
			w.Header().Set("WWW-Authenticate", `Bearer realm="agensium"`)
			http.Error(w, "send the token: Authorization: Bearer …", http.StatusUnauthorized)
		default:
			s.o.Log.Info(what+" asked for", "reason", "admin request", "from", r.RemoteAddr)
			do("admin request")
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprintln(w, what+" begun")
		}
	}
}

func (s *Server) token() string {
	if s.o.Token == nil {
		return ""
	}
	return s.o.Token()
}

// authorized compares digests, so that the time it takes tells nothing, the length included.
func authorized(r *http.Request, token string) bool {
	scheme, sent, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got, want := sha256.Sum256([]byte(strings.TrimSpace(sent))), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
