package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

const (
	pings      = 1000
	pingReply  = "reply.celery.pidbox"
	pingClient = "bench"
)

// ping asks a worker whose slots are all busy whether it is there, as `celery inspect ping` does, and takes the time from the
// PUBLISH until the reply has been popped.
func ping(ctx context.Context, b *bench, c command) (figures, error) {
	const slots = 4
	w, err := b.start(ctx, c, load{concurrency: slots})
	defer func() { w.kill() }() // its children sleep
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx, w, slots); err != nil {
		return nil, err
	}
	if _, _, err := b.push(ctx, "bench.wait", slots, []any{600}); err != nil {
		return nil, err
	}
	for {
		waiting, err := b.server.client.LLen(ctx, queue).Result()
		if err != nil {
			return nil, fmt.Errorf("look for waiting tasks: %w", err)
		}
		if waiting == 0 {
			break
		}
		if err := pause(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
	const list = pingClient + "." + pingReply
	if err := b.server.client.SAdd(ctx, "_kombu.binding."+pingReply, pingClient+"\x06\x16\x06\x16"+list).Err(); err != nil {
		return nil, fmt.Errorf("announce the reader of replies: %w", err)
	}
	message, err := pingMessage()
	if err != nil {
		return nil, err
	}
	took := make([]float64, 0, pings)
	for range pings {
		at := time.Now()
		if err := b.server.client.Publish(ctx, "/0.celery.pidbox", message).Err(); err != nil {
			return nil, fmt.Errorf("publish ping: %w", err)
		}
		if err := b.server.client.BRPop(ctx, patience, list).Err(); err != nil {
			return nil, fmt.Errorf("wait for the reply to ping: %w", err)
		}
		took = append(took, time.Since(at).Seconds()*1000)
	}
	return figures{"ping_p50": percentile(took, 50), "ping_p99": percentile(took, 99)}, nil
}

// pingMessage is what kombu's Mailbox publishes.
func pingMessage() ([]byte, error) {
	body, err := json.Marshal(map[string]any{
		"method": "ping", "arguments": map[string]any{}, "destination": nil, "pattern": nil, "matcher": nil, "ticket": "bench",
		"reply_to": map[string]string{"exchange": pingReply, "routing_key": pingClient},
	})
	if err != nil {
		return nil, fmt.Errorf("encode ping: %w", err)
	}
	return json.Marshal(map[string]any{
		"body": base64.StdEncoding.EncodeToString(body), "content-encoding": "utf-8", "content-type": "application/json",
		"headers": map[string]any{"clock": 1, "expires": 0},
		"properties": map[string]any{
			"delivery_mode": 1, "delivery_info": map[string]string{"exchange": "celery.pidbox", "routing_key": ""}, "priority": 0,
			"body_encoding": "base64", "delivery_tag": "bench",
		},
	})
}
