package config

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// derive fills in what follows from other settings.
func (b *builder) derive() {
	c := b.cfg
	if listen, ok := strings.CutPrefix(c.Broker.URL, Embedded+"://"); ok {
		c.Broker.URL, c.Broker.EmbeddedListen = Embedded, listen
	}
	if c.Broker.URL == Embedded && b.origins["results.url"].Kind == FromDefault {
		c.Results.URL = Embedded
	}
	if !b.origins.Set("drain.margin") || b.origins["drain.timeout"].Kind == FromPlatform && c.Drain.Margin >= c.Drain.Timeout {
		c.Drain.Margin = min(c.Drain.Margin, c.Drain.Timeout/4)
	}
}

// Embedded is the broker URL that starts a Redis of our own in this process, for a first try; embedded://host:port says
// where it listens.
const Embedded = "embedded"

// relate checks settings that have to fit each other. What was asked for twice in contradiction is a problem; where one side
// is a default or the application's the other one wins, with a note.
func (b *builder) relate() {
	c := b.cfg
	b.relateLimits("tasks", c.Tasks.SoftTimeLimit, c.Tasks.TimeLimit)
	for _, name := range slices.Sorted(maps.Keys(c.Tasks.Named)) {
		t := c.Tasks.Named[name]
		if t.SoftTimeLimit != nil && t.TimeLimit != nil {
			b.relateLimits(key("tasks", name), *t.SoftTimeLimit, *t.TimeLimit)
		}
	}
	if c.Scaling.Min > c.Pool.Concurrency {
		b.conflict("scaling.min", "pool.concurrency", fmt.Sprintf("is %d, more than pool.concurrency = %d", c.Scaling.Min, c.Pool.Concurrency))
		c.Scaling.Min = c.Pool.Concurrency
	}
	least := 0
	for _, q := range c.Scaling.Queues {
		least += q.Min
	}
	if least > c.Pool.Concurrency {
		b.conflict("scaling.queues", "pool.concurrency", fmt.Sprintf("ask for %d slots in all, more than pool.concurrency = %d", least, c.Pool.Concurrency))
	}
	b.relateTimes()
	b.relateQueues()
	b.relateNames()
	b.remarks()
}

func (b *builder) relateLimits(table string, soft, hard time.Duration) {
	if soft > 0 && hard > 0 && soft >= hard {
		b.conflict(table+".soft_time_limit", table+".time_limit",
			fmt.Sprintf("is %s, not less than the hard time_limit of %s", FormatDuration(soft), FormatDuration(hard)))
	}
}

func (b *builder) relateTimes() {
	c := b.cfg
	if c.Drain.Margin > 0 && c.Drain.Margin >= c.Drain.Timeout {
		b.wrong("drain.margin", fmt.Sprintf("is %s, not less than drain.timeout = %s", FormatDuration(c.Drain.Margin), FormatDuration(c.Drain.Timeout)), "drain.timeout")
	}
	if c.Lease.IdleTTL < c.Lease.TTL {
		b.wrong("lease.idle_ttl", fmt.Sprintf("is %s, less than lease.ttl = %s", FormatDuration(c.Lease.IdleTTL), FormatDuration(c.Lease.TTL)), "lease.ttl")
	}
}

func (b *builder) relateQueues() {
	c := b.cfg
	if len(c.Broker.Queues) == 0 {
		b.wrong("broker.queues", "is empty; to consume nothing set broker.consume = false")
		return
	}
	if slices.Contains(c.Broker.Queues, "") {
		b.wrong("broker.queues", "has a queue without a name")
	}
	if len(c.Consumed()) == 0 {
		b.conflict("broker.exclude", "broker.queues", "leaves no queue to consume")
	}
	if b.origins.Set("broker.queues") {
		for _, name := range slices.Sorted(maps.Keys(c.Scaling.Queues)) {
			if !slices.Contains(c.Consumed(), name) {
				b.note(key("scaling", "queues", name), "this queue is not consumed: broker.queues ("+b.origins["broker.queues"].String()+")")
			}
		}
	}
	if steps := c.Broker.PrioritySteps; len(steps) == 0 || steps[0] != 0 || !slices.IsSorted(steps) {
		b.wrong("broker.priority_steps", "must begin with 0 and rise")
	}
}

// Consumed are the queues to consume: without those excluded, each once.
func (c *Config) Consumed() []string {
	var queues []string
	for _, q := range c.Broker.Queues {
		if !slices.Contains(c.Broker.Exclude, q) && !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	return queues
}

var appName = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*(:[\pL_][\pL\pN_.]*)?$`)

func (b *builder) relateNames() {
	c := b.cfg
	scheme, _, ok := strings.Cut(c.Broker.URL, "://")
	switch scheme {
	case "redis", "rediss", "unix", "redis+socket", "redis+unix", "rediss+socket", "sentinel", "redis+sentinel":
	default:
		ok = false
	}
	if !ok && c.Broker.URL != Embedded {
		b.wrong("broker.url", strconv.Quote(maskAny(c.Broker.URL))+` is no Redis; allowed are redis://, rediss://, unix://, sentinel:// and "embedded"`)
	}
	if app := c.Python.App; app != "" && !appName.MatchString(app) {
		b.wrong("python.app", strconv.Quote(app)+` is no Python name; allowed is module:app, such as "proj.celery_app:app"`)
	}
	if c.Node == "" {
		b.wrong("node", "is empty")
	}
	if listen := c.Admin.Listen; listen != "" && !isAddress(listen) {
		b.wrong("admin.listen", strconv.Quote(listen)+` is no address; allowed is host:port, such as "127.0.0.1:8080", or "" for none`)
	}
	if listen := c.Broker.EmbeddedListen; !isAddress(listen) {
		b.wrong("broker.embedded_listen", strconv.Quote(listen)+` is no address; allowed is host:port`)
	}
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// remarks are the notes on settings that are allowed and still surprise.
func (b *builder) remarks() {
	c := b.cfg
	if !c.Broker.Consume {
		b.note("broker.consume", "is false ("+b.origins["broker.consume"].String()+"): the process stays up and consumes nothing")
	}
	switch hard := c.Tasks.TimeLimit; {
	case c.Drain.Timeout == 0:
		b.note("drain.timeout", "is 0: running tasks are put back at once when the process is told to stop, and start again elsewhere")
	case hard > c.Drain.Timeout:
		b.note("drain.timeout", fmt.Sprintf("a task may run for %s, a drain waits for %s: what still runs then is put back and starts again elsewhere",
			FormatDuration(hard), FormatDuration(c.Drain.Budget())))
	}
}

// checkCommand looks at one command of a document; earlier are those before it.
func (d *decoder) checkCommand(where string, c Command, earlier []Command) {
	message := ""
	switch {
	case c.Task == "":
		message = "has no task: the name of the task that it runs"
	case len(c.Run) == 0 || c.Run[0] == "":
		message = `has no run: the program and its arguments, such as ["convert", "{arg0}"]`
	case strings.Contains(c.Run[0], "{"):
		message = "lets an argument of the task choose the program"
	case slices.ContainsFunc(earlier, func(e Command) bool { return e.Task == c.Task }):
		message = "is there twice"
	case c.SoftTimeLimit != nil && c.TimeLimit != nil && *c.SoftTimeLimit >= *c.TimeLimit && *c.TimeLimit > 0:
		message = "has a soft_time_limit that is not less than its time_limit"
	}
	if message != "" {
		d.problem([]string{"command", c.Task}, where, message, "")
	}
}

// conflict is a problem if both settings were asked for, else a note.
func (b *builder) conflict(one, other, message string) {
	if b.asked(one) && b.asked(other) {
		b.wrong(one, message, other)
		return
	}
	b.note(one, message+" ("+b.origins[other].String()+")")
}

// asked tells whether a key, or one below it, was set by somebody but the application.
func (b *builder) asked(name string) bool {
	for k, o := range b.origins {
		if o.explicit() && (k == name || strings.HasPrefix(k, name+".")) {
			return true
		}
	}
	return false
}

// wrong is a problem of one setting, at the place that set it, or one of those that it has to fit. What the application
// says is not for us to refuse: it is a note.
func (b *builder) wrong(name, message string, related ...string) {
	o := b.origins[name]
	for _, other := range related {
		if !o.explicit() {
			o = b.origins[other]
		}
	}
	p := Problem{Key: name, Message: message}
	switch o.Kind {
	case FromApp:
		b.note(name, message+" ("+o.String()+")")
		return
	case FromFile:
		p.File, p.Line = o.Name, o.Line
	case FromRedis:
		p.File, p.Line = o.String(), o.Line
	case FromFlag:
		p.File, p.Key, p.Message = commandLine, o.Name, name+" "+message
	default:
		p.File, p.Key, p.Message = "environment", o.Name, name+" "+message
	}
	b.problems = append(b.problems, p)
}
