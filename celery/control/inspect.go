package control

import (
	"context"
	"slices"
	"strings"
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
