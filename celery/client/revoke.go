package client

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
)

// RevokeOptions say what happens to a task that runs already.
type RevokeOptions struct {
	Terminate bool
	Signal    string // default SIGTERM
}

// Revoke tells all workers not to run the tasks with these ids, as app.control.revoke does. Workers that start later
// do not know of it unless another worker tells them.
func (c *Client) Revoke(ctx context.Context, o RevokeOptions, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	if o.Signal == "" {
		o.Signal = "SIGTERM"
	}
	var target any = ids
	if len(ids) == 1 {
		target = ids[0]
	}
	arguments, err := pyjson.Append(nil, []pyjson.Member{
		member("task_id", target), member("terminate", o.Terminate), member("signal", o.Signal),
	})
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	body := append(append([]byte(`{"method": "revoke", "arguments": `), arguments...), `, "destination": null, "pattern": null, "matcher": null}`...)
	envelope, err := pyjson.Append(nil, []pyjson.Member{
		member("body", base64Text(body)), member("content-encoding", "utf-8"), member("content-type", "application/json"),
		member("headers", map[string]any{"clock": 1}),
		{Key: "properties", Value: pyjson.Raw(`{"delivery_mode": 2, "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""}, ` +
			`"priority": 0, "body_encoding": "base64", "delivery_tag": "` + uuid.NewString() + `"}`)},
	})
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	channel := c.options.Producer.KeyPrefix + "/" + strconv.Itoa(c.broker.Options().DB) + ".celery.pidbox"
	if err := c.broker.Publish(ctx, channel, envelope).Err(); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	return nil
}

// Revoke is Client.Revoke for the task, or for the tasks of the group.
func (r *Result) Revoke(ctx context.Context, o RevokeOptions) error {
	var tasks, steps []*celery.Ref
	collect(r.Ref, &tasks, &steps)
	ids := make([]string, len(tasks))
	for i, t := range tasks {
		ids[i] = t.ID
	}
	return r.client.Revoke(ctx, o, ids...)
}

func member(key string, value any) pyjson.Member {
	raw, _ := pyjson.Append(nil, value) // strings, booleans and lists of them always have a form
	return pyjson.Member{Key: key, Value: raw}
}

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
