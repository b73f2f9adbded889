package supervisor

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor/autoscale"
	"github.com/agensium/agensium/supervisor/config"
	"github.com/agensium/agensium/supervisor/limits"
)

// banner shows at the start what runs, where, and why it is as it is. A log in JSON has it as one of its records, since who reads that
// expects nothing else there.
func (s *Supervisor) banner(out io.Writer) {
	lines := s.introduction()
	if s.loaded.Load().Config.Log.Format == "json" {
		fields := []any{"node", s.node, "version", s.o.Version}
		for _, l := range lines {
			if l[0] == "" { // goes on with the one before
				fields[len(fields)-1] = fmt.Sprintf("%s; %s", fields[len(fields)-1], l[1])
				continue
			}
			fields = append(fields, l[0], l[1])
		}
		s.log.Info("settings at the start", fields...)
		return
	}
	fmt.Fprintf(out, "\n%s  %s\n\n", s.node, s.o.Version)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(w, "  %s\t%s\n", l[0], l[1])
	}
	w.Flush()
	fmt.Fprintln(out)
}

// introduction are the banner's keys, each with what it says.
func (s *Supervisor) introduction() (lines [][2]string) {
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
	line := func(key, format string, args ...any) {
		lines = append(lines, [2]string{key, fmt.Sprintf(format, args...)})
	}
	if s.generation.Load().app != nil {
		line("app", "%s (%s), %d tasks", or(c.Python.App, "celeryconfig"), or(info.App, "default"), len(info.Tasks))
		line("python", "%s %s, Celery %s, kombu %s, redis-py %s", info.Executable, info.Python, info.Celery, info.Kombu, or(info.Redis, "none"))
		line("", "found by: %s", why)
	}
	if s.generation.Load().goTasks != nil {
		line("tasks", "%s", s.served(c))
	}
	line("broker", "%s  (%s)", messages, now.Origins["broker.url"])
	line("results", "%s  (%s)", results, now.Origins["results.url"])
	if c.Broker.Metered {
		line("metered", "%s", meteredWords(c))
	}
	line("queues", "%s", strings.Join(c.Consumed(), ", "))
	line("concurrency", "%s  (%s)", slotsWords(now.Effective), now.Origins["pool.concurrency"])
	if words := memoryWords(now); words != "" {
		line("", "%s", words)
	}
	line("acks_late", "%t, reject_on_worker_lost %t  (%s)", c.Tasks.AcksLate, c.Tasks.RejectOnWorkerLost, now.Origins["tasks.acks_late"])
	line("drain", "%s  (%s)", c.Drain.Timeout, now.Origins["drain.timeout"])
	if s.loaded.Load().Path != "" {
		line("settings", "%s", s.loaded.Load().Path)
	}
	return lines
}

// meteredWords says what will be billed where commands are.
func meteredWords(c *config.Config) string {
	idle, parts := c.IdleMonth()
	tasks := 1000 * config.CommandsPerTask
	return fmt.Sprintf("an idle month %s commands, %s; 1,000 tasks %s, %s; at %s  (idle: %s)",
		config.Thousands(idle), config.Bill(idle), config.Thousands(tasks), config.Bill(tasks), config.BillRate, parts)
}

// slotsWords says how many slots there will be.
func slotsWords(e *config.Effective) string {
	switch p := policyOf(e); {
	case p.Min >= p.Max:
		return fmt.Sprintf("%d, fixed", p.Max)
	case p.SLO == 0:
		return fmt.Sprintf("%d to %d, a slot for each message that waits", p.Min, p.Max)
	default:
		return fmt.Sprintf("%d to %d, as many as start each task within %s", p.Min, p.Max, p.SLO)
	}
}

// memoryWords says how many of them memory allows, if it is fewer; empty if not.
func memoryWords(now *settings) string {
	reader, err := limits.Open()
	if err != nil {
		return ""
	}
	c := now.Config
	m := memoryOf(reader, int64(c.Scaling.MemoryLimit), now.info.RSS, 0)
	m.Child = autoscale.GuessChild(now.info.RSS, int64(c.Pool.MaxMemoryPerChild))
	room, ok := m.Room()
	if !ok || room >= c.Pool.Concurrency {
		return ""
	}
	return fmt.Sprintf("memory allows %d at first: limit %d MiB, %d MiB used, %d MiB for a child until it is known", max(1, room), m.Limit>>20, m.Used>>20, m.Child>>20)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
