package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// ownName marks our own connections in CLIENT LIST.
const ownName = "agensium-bench"

// server is a Redis of our own and our connection to it. Our own commands are counted, so that they can be told from the worker's.
type server struct {
	url    string
	client *redis.Client
	cmd    *exec.Cmd
	own    *ownCommands
}

func startServer(ctx context.Context, program, dir string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s := &server{url: "redis://" + addr + "/0", own: &ownCommands{calls: counts{}}}
	s.cmd = exec.Command(program, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	s.client = redis.NewClient(&redis.Options{Addr: addr, ClientName: ownName, PoolSize: 1, MaxRetries: -1, ConnMaxIdleTime: -1, DisableIdentity: true})
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := s.client.Ping(ctx).Err()
		if err == nil {
			s.client.AddHook(s.own)
			return s, nil
		}
		if time.Now().After(deadline) || pause(ctx, 10*time.Millisecond) != nil {
			s.stop()
			return nil, fmt.Errorf("reach our Redis: %w", err)
		}
	}
}

func (s *server) stop() {
	_ = s.client.Close()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) version(ctx context.Context) string {
	info, _ := s.client.Info(ctx, "server").Result()
	_, rest, _ := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	return version
}

// counts are calls by command, as INFO commandstats names them.
type counts map[string]int64

func (c counts) total() (n int64) {
	for _, calls := range c {
		n += calls
	}
	return n
}

// since returns what was added after before.
func (c counts) since(before counts) counts {
	diff := counts{}
	for name, calls := range c {
		if d := calls - before[name]; d != 0 {
			diff[name] = d
		}
	}
	return diff
}

// commands returns what the server was asked since its start by others than us.
func (s *server) commands(ctx context.Context) (counts, error) {
	own := s.own.snapshot() // before: INFO does not count itself
	info, err := s.client.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, fmt.Errorf("read commandstats: %w", err)
	}
	all, err := parseCommandStats(info)
	if err != nil {
		return nil, err
	}
	return all.since(own), nil
}

// parseCommandStats reads lines like `cmdstat_client|list:calls=3,usec=…`.
func parseCommandStats(info string) (counts, error) {
	all := counts{}
	for line := range strings.Lines(info) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		calls, err := strconv.ParseInt(rest[:strings.IndexByte(rest+",", ',')], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read commandstats: %q: %w", line, err)
		}
		all[name] = calls
	}
	return all, nil
}

// connections returns how many clients others than us have open.
func (s *server) connections(ctx context.Context) (float64, error) {
	list, err := s.client.ClientList(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("list connections: %w", err)
	}
	n := 0
	for line := range strings.Lines(list) {
		if !strings.Contains(line, " name="+ownName+" ") {
			n++
		}
	}
	return float64(n), nil
}

// deserted returns when nobody but us is connected.
func (s *server) deserted(ctx context.Context) error {
	for {
		n, err := s.connections(ctx)
		if err != nil || n == 0 {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the last worker's %.0f connections to close: %w", n, err)
		}
	}
}

// ownCommands counts what goes through our client.
type ownCommands struct {
	mu    sync.Mutex
	calls counts
}

func (o *ownCommands) snapshot() counts {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.calls)
}

func (o *ownCommands) add(cmds ...redis.Cmder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, cmd := range cmds {
		o.calls[strings.ReplaceAll(cmd.FullName(), " ", "|")]++
	}
}

// DialHook, ProcessHook and ProcessPipelineHook make it a redis.Hook.
func (o *ownCommands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o *ownCommands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		o.add(cmd)
		return err
	}
}

func (o *ownCommands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		o.add(cmds...)
		return err
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// pause waits for d, or returns the cause why not.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
