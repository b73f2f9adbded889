package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/supervisor/config"
)

type deadCommands struct {
	List  deadList  `cmd:"" help:"List dead letters, the newest first."`
	Show  deadShow  `cmd:"" help:"Print all that is known about a dead letter."`
	Retry deadRetry `cmd:"" help:"Put messages back into their queues, with the delivery count at 0."`
	Drop  deadDrop  `cmd:"" help:"Delete dead letters."`

	KeyPrefix string `placeholder:"PREFIX" help:"global_keyprefix of the application's broker_transport_options. Default: broker.key_prefix."`
}

// deadFilter chooses dead letters.
type deadFilter struct {
	Task  string `placeholder:"NAME" help:"Of this task."`
	Cause string `placeholder:"CAUSE" help:"With this cause: signal, oom, exited, hard_limit, max_deliveries, undecodable, content_type_refused, unknown_task, lost_after_early_ack."`
	Queue string `short:"Q" placeholder:"QUEUE" help:"From this queue."`
	Older string `placeholder:"AGE" help:"Older than this: 90s, 15m, 12h, 7d."`
	Newer string `placeholder:"AGE" help:"Younger than this."`
}

func (f *deadFilter) empty() bool { return *f == deadFilter{} }

func (f *deadFilter) broker(now time.Time) (broker.DeadFilter, error) {
	b := broker.DeadFilter{Task: f.Task, Cause: f.Cause, Queue: f.Queue}
	for _, age := range []struct {
		flag, text string
		at         *time.Time
	}{{"--older", f.Older, &b.Before}, {"--newer", f.Newer, &b.After}} {
		if age.text == "" {
			continue
		}
		d, err := config.ParseDuration(age.text)
		if err != nil || d <= 0 {
			return b, usage(fmt.Errorf("%s %q: not an age", age.flag, age.text), "write 90s, 15m, 12h or 7d")
		}
		*age.at = now.Add(-d)
	}
	return b, nil
}

// dead opens the dead letters of the broker that the settings name.
func (c *call) dead() (*broker.DeadLetters, error) {
	flags := c.global()
	loaded, err := c.load(flags)
	if err != nil {
		return nil, err
	}
	target, err := redisconn.Parse(loaded.Config.Broker.URL, nil)
	if err != nil {
		return nil, usage(fmt.Errorf("broker: %w", err), "set broker.url, CELERY_BROKER_URL or -b")
	}
	return broker.OpenDeadLetters(target, or(c.cli.Dead.KeyPrefix, loaded.Config.Broker.KeyPrefix)), nil
}

// withDead runs f on the dead letters; what Redis says is told in words.
func (c *call) withDead(f func(*broker.DeadLetters) error) error {
	dead, err := c.dead()
	if err != nil {
		return err
	}
	defer dead.Close()
	err = f(dead)
	var known *hinted
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, broker.ErrNoDeadLetter):
		return &hinted{err: err, hint: "agensium dead list shows the ids", status: exitError}
	}
	return &hinted{err: err, hint: redisconn.Classify(err).Hint, status: exitError}
}

type deadList struct {
	deadFilter
	Limit int  `short:"n" default:"100" help:"At most so many; 0: all."`
	JSON  bool `help:"Print one JSON object to a line."`
}

// Run is called by kong.
func (d *deadList) Run(c *call) error {
	filter, err := d.broker(time.Now())
	if err != nil {
		return err
	}
	filter.Limit = d.Limit
	return c.withDead(func(dead *broker.DeadLetters) error {
		letters, err := dead.List(c.ctx, filter)
		if err != nil {
			return err
		}
		if d.JSON {
			out := json.NewEncoder(c.std.out)
			for _, l := range letters {
				if err := out.Encode(l); err != nil {
					return err
				}
			}
			return nil
		}
		if len(letters) == 0 {
			fmt.Fprintln(c.std.out, "no dead letters")
			return nil
		}
		w := tabwriter.NewWriter(child.PrintableWriter(c.std.out), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tWHEN\tCAUSE\tTASK\tQUEUE\tDETAIL")
		for _, l := range letters {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.When.Local().Format(time.DateTime), l.Cause, or(l.Task, "-"), l.Queue, oneLine(l.Detail, 80))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if len(letters) == d.Limit {
			fmt.Fprintf(c.std.err, "the newest %d; -n 0 lists all\n", d.Limit)
		}
		return nil
	})
}

type deadShow struct {
	ID   string `arg:"" help:"Id, as dead list prints it."`
	JSON bool   `help:"Print JSON."`
}

// Run is called by kong.
func (d *deadShow) Run(c *call) error {
	return c.withDead(func(dead *broker.DeadLetters) error {
		l, err := dead.Get(c.ctx, d.ID)
		if err != nil {
			return err
		}
		if d.JSON {
			out := json.NewEncoder(c.std.out)
			out.SetIndent("", "  ")
			return out.Encode(l)
		}
		out := child.PrintableWriter(c.std.out)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(w, "%s\t%s\n", name, value)
			}
		}
		row("id", l.ID)
		row("task", l.Task)
		row("task id", l.TaskID)
		row("queue", l.Queue)
		row("cause", l.Cause)
		row("detail", oneLine(l.Detail, 0))
		row("when", l.When.Local().Format(time.RFC3339))
		row("node", l.Node)
		if l.Deliveries > 0 {
			row("deliveries", fmt.Sprint(l.Deliveries))
		}
		if l.Memory > 0 {
			row("memory", fmt.Sprintf("%d MiB", l.Memory>>20))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if len(l.Tail) > 0 {
			fmt.Fprintf(out, "last lines of output:\n  %s\n", strings.Join(l.Tail, "\n  "))
		}
		fmt.Fprintf(out, "message:\n%s\n", l.Message)
		return nil
	})
}

// deadChoice are ids, or a filter; everything has to be asked for.
type deadChoice struct {
	IDs []string `arg:"" optional:"" name:"id" help:"Ids, as dead list prints them."`
	deadFilter
	All bool `help:"All dead letters."`
}

func (d *deadChoice) ids(c *call, dead *broker.DeadLetters) ([]string, error) {
	filtered := !d.empty()
	switch {
	case len(d.IDs) > 0 && (filtered || d.All):
		return nil, usage(errors.New("ids and a filter cannot be given together"), "give one or the other")
	case len(d.IDs) > 0:
		return d.IDs, nil
	case !filtered && !d.All:
		return nil, usage(errors.New("which dead letters?"), "give ids, a filter such as --task or --cause, or --all")
	}
	filter, err := d.broker(time.Now())
	if err != nil {
		return nil, err
	}
	letters, err := dead.List(c.ctx, filter)
	ids := make([]string, len(letters))
	for i, l := range letters {
		ids[len(letters)-1-i] = l.ID // the oldest first
	}
	return ids, err
}

type deadRetry struct{ deadChoice }

// Run is called by kong.
func (d *deadRetry) Run(c *call) error {
	return c.withDead(func(dead *broker.DeadLetters) error {
		ids, err := d.ids(c, dead)
		if err != nil {
			return err
		}
		n := 0
		for _, id := range ids {
			err := dead.Retry(c.ctx, id)
			if errors.Is(err, broker.ErrNoDeadLetter) && len(d.IDs) == 0 {
				continue // somebody was faster
			}
			if err != nil {
				fmt.Fprintf(c.std.out, "retried: %d\n", n)
				return err
			}
			n++
		}
		fmt.Fprintf(c.std.out, "retried: %d\n", n)
		return nil
	})
}

type deadDrop struct{ deadChoice }

// Run is called by kong.
func (d *deadDrop) Run(c *call) error {
	return c.withDead(func(dead *broker.DeadLetters) error {
		ids, err := d.ids(c, dead)
		if err != nil {
			return err
		}
		n, err := dead.Drop(c.ctx, ids...)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.std.out, "dropped: %d\n", n)
		if n < len(d.IDs) {
			return fmt.Errorf("%w: %d of %d ids", broker.ErrNoDeadLetter, len(d.IDs)-n, len(d.IDs))
		}
		return nil
	})
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// oneLine makes a line of a text and shortens it; 0: not.
func oneLine(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); most > 0 && len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
