package celerytest

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Command is a command that a server got.
type Command struct {
	DB   int
	Conn string // address of the client, "lua" for a script's
	Args []string
}

// Name is the command's name in upper case.
func (c Command) Name() string { return strings.ToUpper(c.Args[0]) }

// Monitor records all commands that a server gets, by MONITOR. (AUTH and HELLO with a password are not shown by Redis.)
type Monitor struct {
	t        testing.TB
	redis    *Redis
	marks    int
	mu       sync.Mutex
	commands []Command
}

// Monitor begins to record. It ends with the test.
func (r *Redis) Monitor() *Monitor {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Fatalf("monitor: %v", err)
	}
	in := bufio.NewReader(conn)
	send := func(line string) {
		if _, err := conn.Write([]byte(line + "\r\n")); err != nil {
			r.t.Fatalf("monitor: %v", err)
		}
		if reply, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(reply, "+OK") {
			r.t.Fatalf("monitor: %s: %q, %v", line, reply, err)
		}
	}
	if password := r.arg("--requirepass"); password != "" {
		send("AUTH " + password)
	}
	send("MONITOR")
	m := &Monitor{t: r.t, redis: r}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if c, ok := parseMonitor(line); ok {
				m.mu.Lock()
				m.commands = append(m.commands, c)
				m.mu.Unlock()
			}
		}
	}()
	r.t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return m
}

// Commands returns the commands that the server got before the call, without the handshake of connections (HELLO,
// SELECT, CLIENT) and the monitor's own.
func (m *Monitor) Commands() []Command {
	m.t.Helper()
	m.marks++
	mark := "agensium-monitor-" + strconv.Itoa(m.marks)
	c := m.redis.Client(0)
	defer c.Close()
	if err := c.Echo(context.Background(), mark).Err(); err != nil {
		m.t.Fatalf("monitor: %v", err)
	}
	var seen []Command
	Eventually(m.t, "MONITOR to show "+mark, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, cmd := range m.commands {
			if cmd.Name() == "ECHO" && cmd.Args[len(cmd.Args)-1] == mark {
				seen = m.commands[:i:i]
				return true
			}
		}
		return false
	})
	var work []Command
	for _, cmd := range seen {
		switch cmd.Name() {
		case "HELLO", "AUTH", "SELECT", "CLIENT":
		case "ECHO":
			if strings.HasPrefix(cmd.Args[len(cmd.Args)-1], "agensium-monitor-") {
				continue
			}
			work = append(work, cmd)
		default:
			work = append(work, cmd)
		}
	}
	return work
}

// Counts returns how often each command came, by name in upper case. Commands of scripts are not counted, the EVALSHA is.
func (m *Monitor) Counts() map[string]int {
	m.t.Helper()
	counts := map[string]int{}
	for _, c := range m.Commands() {
		if c.Conn != "lua" {
			counts[c.Name()]++
		}
	}
	return counts
}

// Reset forgets what was recorded so far.
func (m *Monitor) Reset() {
	m.t.Helper()
	m.Commands()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commands = nil
}

// parseMonitor reads a line such as: +1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
func parseMonitor(line string) (Command, bool) {
	_, rest, ok := strings.Cut(line, " [")
	if !ok {
		return Command{}, false
	}
	where, args, ok := strings.Cut(rest, "] ")
	if !ok {
		return Command{}, false
	}
	db, conn, _ := strings.Cut(where, " ")
	c := Command{Conn: conn}
	c.DB, _ = strconv.Atoi(db)
	for args = strings.TrimSpace(args); args != ""; args = strings.TrimLeft(args, " ") {
		quoted := quotedPrefix(args)
		c.Args = append(c.Args, unescape(quoted))
		args = args[len(quoted):]
	}
	return c, len(c.Args) > 0
}

// quotedPrefix returns the quoted string that s begins with.
func quotedPrefix(s string) string {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i+1]
		}
	}
	return s
}

// unescape undoes Redis's sdscatrepr, whose escapes are those of Go.
func unescape(quoted string) string {
	if s, err := strconv.Unquote(quoted); err == nil {
		return s
	}
	return strings.Trim(quoted, `"`)
}
