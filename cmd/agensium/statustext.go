package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
)

// render shows a status to a person.
func render(out io.Writer, st *supervisor.Status) {
	fmt.Fprintf(out, "%s  %s  pid %d  up %s\n\n", st.Node, st.Version, st.PID, ago(st.Uptime))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(w, "  %s\t%s\n", key, fmt.Sprintf(format, args...)) }
	line("phase", "%s", join(st.Phase, st.Detail))
	if st.Settings != "" {
		line("settings", "%s", st.Settings)
	} else {
		line("directory", "%s", st.Directory)
	}
	if st.Reload.Error != "" {
		line("", "as of %s: the last reload was refused: %s", st.Reload.Taken.Format(time.DateTime), st.Reload.Error)
	}
	if !st.Live.OK {
		line("live", "NO: %s", st.Live.Reason)
	}
	if !st.Ready.OK {
		line("ready", "NO: %s", st.Ready.Reason)
	}
	if d := st.Drain; d != nil {
		line("drain", "%d tasks run, %s left until they are put back", d.Running, ago(d.Remaining))
	}
	switch a := st.Application; {
	case a == nil:
	case a.App == "":
		line("app", "none, %d tasks in Go or as programs", a.Tasks)
	default:
		line("app", "%s, %d tasks, Python %s, Celery %s", a.App, a.Tasks, a.Python, a.Celery)
	}
	if b := st.Broker; b != nil {
		line("broker", "%s, %d connections, lease %s of %s old", b.URL, b.Connections, ago(b.LeaseAge), ago(b.LeaseTTL))
		if c := b.Condition; c != nil {
			line("", "%s since %s: %s", c.Name, c.Since.Format(time.TimeOnly), c.Error)
			line("", "hint: %s", c.Hint)
		}
	}
	line("tasks", "%d begun, %d running, %d redelivered", st.Tasks.Begun, st.Tasks.Running, st.Tasks.Redelivered)
	if st.Parked != nil && st.DeadLetters != nil {
		line("parked", "%d, dead letters %d", *st.Parked, *st.DeadLetters)
	}
	for _, p := range st.Problems {
		line("unknown", "%s", p)
	}
	_ = w.Flush()
	renderSlots(out, st.Slots)
	renderQueues(out, st.Queues)
	renderNodes(out, st.Nodes)
}

func renderSlots(out io.Writer, s *supervisor.SlotsStatus) {
	if s == nil {
		return
	}
	var states []string
	for _, state := range []string{"starting", "idle", "busy", "leaving"} {
		if n := s.States[state]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, state))
		}
	}
	fmt.Fprintf(out, "\nslots: %d of at most %d", len(s.Slots), s.Max)
	if len(states) > 0 {
		fmt.Fprintf(out, "; %s; children take %s", strings.Join(states, ", "), size(s.Memory))
	}
	if s.Overrun > 0 {
		fmt.Fprintf(out, "; %d held by Go handlers that were given up and still run", s.Overrun)
	}
	fmt.Fprintln(out)
	for i, d := range slices.Backward(s.Decisions) {
		if i < len(s.Decisions)-5 {
			break
		}
		fmt.Fprintf(out, "  %s  %s\n", d.At.Format(time.TimeOnly), d.Reason)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, slot := range s.Slots {
		task := ""
		if t := slot.Task; t != nil {
			task = fmt.Sprintf("%s[%s] of %s, %s", t.Name, t.ID, t.Queue, ago(t.Runtime))
		}
		state, pid, memory := slot.State, "", ""
		if slot.Overrun {
			state = "held by a handler that was given up"
		}
		if slot.PID != 0 {
			pid, memory = fmt.Sprintf("pid %d", slot.PID), size(slot.Memory)
		}
		fmt.Fprintf(w, "  %d\t%s\t%s\t%s\t%s\n", slot.ID, state, pid, memory, task)
	}
	_ = w.Flush()
}

func renderQueues(out io.Writer, queues []supervisor.QueueStatus) {
	if len(queues) == 0 {
		return
	}
	fmt.Fprintln(out, "\nqueues:")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, q := range queues {
		oldest := ""
		if q.Due > 0 {
			oldest = "oldest about " + ago(q.Oldest)
		}
		share := ""
		if q.Weight > 0 {
			share = fmt.Sprintf("keeps %d, weight %d", q.Min, q.Weight)
		}
		fmt.Fprintf(w, "  %s\t%d waiting\t%d running here\t%s\t%s\n", q.Name, q.Due, q.Running, share, oldest)
	}
	_ = w.Flush()
}

func renderNodes(out io.Writer, nodes []supervisor.NodeStatus) {
	if len(nodes) == 0 {
		return
	}
	fmt.Fprintln(out, "\nnodes:")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, n := range nodes {
		alive := "alive"
		if !n.Alive {
			alive = "dead"
		}
		fmt.Fprintf(w, "  %s\t%s\tpid %d on %s\tup %s\t%s\n", n.Node, alive, n.PID, n.Host, ago(time.Since(n.Started).Seconds()), strings.Join(n.Queues, ", "))
	}
	_ = w.Flush()
}

func join(word, detail string) string {
	if detail == "" {
		return word
	}
	return word + ": " + detail
}

// ago words a number of seconds to two places.
func ago(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return config.FormatDuration(d.Round(100 * time.Millisecond))
	case d < time.Hour:
		return config.FormatDuration(d.Round(time.Second))
	default:
		return config.FormatDuration(d.Round(time.Minute))
	}
}

func size(n int64) string {
	if n < 10<<20 {
		return strconv.FormatInt(n>>10, 10) + "KiB"
	}
	return strconv.FormatInt(n>>20, 10) + "MiB"
}
