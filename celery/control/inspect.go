package control

import (
	"context"
	"slices"
	"strings"
)

// table holds the commands by name; Celery's older names stand for the same ones (celery/worker/control.py Panel).
var table = map[string]*command{
	"ping":          {open: true, run: ping},
	"clock":         {open: true, run: clock},
	"hello":         {required: []string{"from_node"}, optional: []string{"revoked"}, open: true, run: hello},
	"active":        active,
	"dump_active":   active,
	"reserved":      reserved,
	"dump_reserved": reserved,
	"scheduled":     scheduled,
	"dump_schedule": scheduled,
	"query_task":    {required: []string{"ids"}, open: true, slow: true, run: queryTask},
	"revoked":       listRevoked,
	"dump_revoked":  listRevoked,
	"registered":    registered,
	"dump_tasks":    registered,
	"stats":         {open: true, run: stats},
	"conf":          conf,
	"dump_conf":     conf,
	"report":        {slow: true, run: report},
	"active_queues": {run: activeQueues},
	"memsample":     {open: true, run: unavailable("memsample: tasks run in processes of their own, see stats")},
	"memdump":       {open: true, run: unavailable("memdump: tasks run in processes of their own, see stats")},
	"objgraph":      {open: true, run: unavailable("objgraph: this worker is not a Python process")},

	"revoke":                    {required: []string{"task_id"}, open: true, slow: true, run: revoke},
	"terminate":                 {required: []string{"signal", "task_id"}, open: true, slow: true, run: terminate},
	"revoke_by_stamped_headers": {required: []string{"headers"}, open: true, slow: true, run: revokeStamped},
	"rate_limit":                {required: []string{"task_name", "rate_limit"}, open: true, run: rateLimit},
	"time_limit":                {open: true, run: timeLimit},

	"pool_grow":       {open: true, run: poolGrow},
	"pool_shrink":     {open: true, run: poolShrink},
	"pool_restart":    {open: true, slow: true, run: poolRestart},
	"autoscale":       {optional: []string{"max", "min"}, run: autoscale},
	"shutdown":        {open: true, run: shutdown},
	"add_consumer":    {required: []string{"queue"}, open: true, slow: true, run: addConsumer},
	"cancel_consumer": {required: []string{"queue"}, open: true, slow: true, run: cancelConsumer},

	"enable_events":  {run: enableEvents},
	"disable_events": {run: disableEvents},
	"heartbeat":      {run: heartbeat},
	// Elections are held among the workers that gossip. We do not, and so do not vote.
	"election": {required: []string{"id", "topic"}, open: true, run: nothing},
}

var (
	active      = &command{open: true, run: listActive}
	reserved    = &command{open: true, run: listReserved}
	scheduled   = &command{open: true, slow: true, run: listScheduled}
	listRevoked = &command{open: true, run: revokedIDs}
	registered  = &command{open: true, slow: true, run: listRegistered}
	conf        = &command{open: true, slow: true, run: showConf}
)

// maxScheduled bounds the answer of scheduled. There may be a million parked tasks.
const maxScheduled = 1000

func ping(context.Context, *commands, Arguments) (any, error) { return done("pong"), nil }

func nothing(context.Context, *commands, Arguments) (any, error) { return nil, nil }

func unavailable(why string) func(context.Context, *commands, Arguments) (any, error) {
	return func(context.Context, *commands, Arguments) (any, error) { return nil, Refused("not available: " + why) }
}

func clock(_ context.Context, c *commands, _ Arguments) (any, error) {
	return map[string]int64{"clock": c.clock.Value()}, nil
}

// hello answers a stock worker's mingle. The ids go without their times, as from 5.7 on: those are of a clock that no
// other host has; older releases read a list as well.
func hello(_ context.Context, c *commands, args Arguments) (any, error) {
	var from string
	if err := arg(args, "from_node", &from); err != nil {
		return nil, err
	}
	if from == c.node {
		return nil, nil
	}
	ids, err := revokedNames(args)
	if err != nil {
		return nil, err
	}
	c.revoked.Add(ids...)
	return map[string]any{"revoked": c.revoked.IDs(), "clock": c.clock.Forward()}, nil
}

func listActive(_ context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Requests == nil {
		return nil, missing("active")
	}
	return infos(c.of.Requests.Active(), c.node, truthy(args["safe"])), nil
}

func listReserved(_ context.Context, c *commands, _ Arguments) (any, error) {
	if c.of.Requests == nil {
		return nil, missing("reserved")
	}
	return infos(c.of.Requests.Reserved(), c.node, false), nil
}

func infos(requests []Request, node string, safe bool) []requestInfo {
	list := make([]requestInfo, len(requests))
	for i, r := range requests {
		list[i] = r.info(node, safe)
	}
	return list
}

func listScheduled(ctx context.Context, c *commands, _ Arguments) (any, error) {
	if c.of.Parked == nil {
		return nil, missing("scheduled")
	}
	requests, err := c.of.Parked.Parked(ctx, maxScheduled)
	if err != nil {
		return nil, err
	}
	type entry struct {
		ETA      *string     `json:"eta"`
		Priority int         `json:"priority"` // of the timer that Celery would have used
		Request  requestInfo `json:"request"`
	}
	list := make([]entry, len(requests))
	for i, r := range requests {
		list[i] = entry{ETA: isoFormat(r.Task.ETA), Priority: 6, Request: r.info(c.node, false)}
	}
	return list, nil
}

// queryTask tells of each task that the node knows its state and its request.
func queryTask(ctx context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Requests == nil {
		return nil, missing("query_task")
	}
	wanted, err := stringList(args, "ids")
	if err != nil {
		return nil, err
	}
	found := map[string][2]any{}
	add := func(state string, requests []Request) {
		for _, r := range requests {
			if _, known := found[r.Task.ID]; !known && slices.Contains(wanted, r.Task.ID) {
				found[r.Task.ID] = [2]any{state, r.info(c.node, false)}
			}
		}
	}
	add("active", c.of.Requests.Active())
	add("reserved", c.of.Requests.Reserved())
	if len(found) < len(wanted) && c.of.Parked != nil {
		parked, err := c.of.Parked.Parked(ctx, maxScheduled)
		if err != nil {
			return nil, err
		}
		add("scheduled", parked)
	}
	return found, nil
}

func revokedIDs(_ context.Context, c *commands, _ Arguments) (any, error) {
	return c.revoked.IDs(), nil
}

func listRegistered(ctx context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Registry == nil {
		return nil, missing("registered")
	}
	var items []any
	if err := arg(args, "taskinfoitems", &items); err != nil {
		return nil, err
	}
	attributes := []string{"exchange", "routing_key", "rate_limit"}
	if len(items) > 0 {
		attributes = nil
		for _, item := range items {
			if name, ok := item.(string); ok && !strings.HasPrefix(name, "_") {
				attributes = append(attributes, name)
			}
		}
	}
	tasks, err := c.of.Registry.Registered(ctx, attributes)
	if err != nil {
		return nil, err
	}
	lines, builtins := []string{}, truthy(args["builtins"])
	for _, t := range tasks {
		if builtins || !strings.HasPrefix(t.Name, "celery.") {
			lines = append(lines, t.line(attributes))
		}
	}
	slices.Sort(lines)
	return lines, nil
}

func stats(_ context.Context, c *commands, _ Arguments) (any, error) {
	if c.of.Statistics == nil {
		return nil, missing("stats")
	}
	return c.of.Statistics.Statistics().reply(c.clock.Value()), nil
}

func showConf(ctx context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Settings == nil {
		return nil, missing("conf")
	}
	return c.of.Settings.Conf(ctx, truthy(args["with_defaults"]))
}

func report(ctx context.Context, c *commands, _ Arguments) (any, error) {
	if c.of.Settings == nil {
		return nil, missing("report")
	}
	text, err := c.of.Settings.Report(ctx)
	if err != nil {
		return nil, err
	}
	return done(text), nil
}
