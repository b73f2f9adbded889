package supervisor

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor/config"
)

// banner shows at the start what runs, where, and why it is as it is.
func (s *Supervisor) banner(out io.Writer) {
	now := s.current.Load()
	c, info := now.Config, now.info
	_, why, _ := config.Interpreter(c.Python, os.LookupEnv)
	messages, results := redisconn.Mask(c.Broker.URL), redisconn.Mask(c.Results.URL)
	if s.embedded != nil {
		messages, results = s.embedded.url+" (embedded, for a first try: keeps nothing)", s.embedded.url
	}
	if results == "" {
		results = "disabled"
	}
	fmt.Fprintf(out, "\n%s  %s\n\n", s.node, s.o.Version)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", key, fmt.Sprintf(format, args...))
	}
	if s.app != nil {
		line("app", "%s (%s), %d tasks", c.Python.App, info.App, len(info.Tasks))
		line("python", "%s %s, Celery %s, kombu %s, redis-py %s", info.Executable, info.Python, info.Celery, info.Kombu, orNone(info.Redis))
		line("", "found by: %s", why)
	}
	if s.goTasks != nil {
		line("tasks", "%s", s.served(c))
	}
	line("broker", "%s  (%s)", messages, now.Origins["broker.url"])
	line("results", "%s  (%s)", results, now.Origins["results.url"])
	line("queues", "%s", strings.Join(c.Consumed(), ", "))
	line("concurrency", "%d  (%s)", c.Pool.Concurrency, now.Origins["pool.concurrency"])
	line("acks_late", "%t, reject_on_worker_lost %t  (%s)", c.Tasks.AcksLate, c.Tasks.RejectOnWorkerLost, now.Origins["tasks.acks_late"])
	line("drain", "%s  (%s)", c.Drain.Timeout, now.Origins["drain.timeout"])
	if s.o.Loaded.Path != "" {
		line("settings", "%s", s.o.Loaded.Path)
	}
	w.Flush()
	fmt.Fprintln(out)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
