package control

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// eventBatch is how many task events one message carries at most, as in Celery (dispatcher.py buffer_limit).
	eventBatch = 24
	// eventTick is how long a task event waits for others to go with.
	eventTick = 10 * time.Millisecond
	// Events that cannot be sent are kept up to these bounds; then the oldest go.
	maxEvents     = 10_000
	maxEventBytes = 16 << 20
	// eventRetry is the pause after a failed attempt to send.
	eventRetry = time.Second
)

// trim drops the oldest events that are too many. The caller holds mu.
func (e *Events) trim() {
	for len(e.waiting) > maxEvents || e.bytes > maxEventBytes && len(e.waiting) > 1 {
		e.bytes -= len(e.waiting[0].body)
		e.waiting = e.waiting[1:]
		e.dropped++
	}
}

// begin says hello if events are on. Called before run, and before anything else can send: hello comes first.
func (e *Events) begin() {
	if e.On() {
		e.online = true
		e.worker("worker-online")
	}
}

// run sends events and heartbeats until ctx ends, then says goodbye.
func (e *Events) run(ctx context.Context) {
	every := time.Duration(e.every.Load())
	heartbeats := time.NewTicker(tickerTime(every))
	defer heartbeats.Stop()
	for {
		var beat <-chan time.Time
		if e.online && every > 0 {
			beat = heartbeats.C
		}
		select {
		case <-ctx.Done():
			if e.online {
				e.worker("worker-offline")
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			if err := e.flush(ctx); err != nil {
				e.log.Warn("last events not sent", "error", err)
			}
			return
		case <-beat:
			if e.every.Load() > 0 { // switched off a moment ago
				e.worker("worker-heartbeat")
			}
		case <-e.changed:
			if now := time.Duration(e.every.Load()); now != every {
				every = now
				heartbeats.Reset(tickerTime(every))
			}
			e.switched(heartbeats)
			if !e.full() && !wait(ctx, eventTick) {
				continue
			}
			if err := e.flush(ctx); err != nil && ctx.Err() == nil {
				e.log.Warn("events not sent", "error", err, "next", "try again")
				wait(ctx, eventRetry)
				e.wake()
			}
		}
	}
}

// tickerTime is what a ticker may be set to, also if nobody listens to it.
func tickerTime(every time.Duration) time.Duration {
	if every <= 0 {
		return time.Hour
	}
	return every
}

// switched begins or ends the heartbeats when events have been enabled or disabled remotely, or when the node leaves.
func (e *Events) switched(heartbeats *time.Ticker) {
	if e.left.Load() {
		if e.online {
			e.worker("worker-offline")
		}
		e.online = false
		return
	}
	on := e.On()
	if on && !e.online {
		e.worker("worker-heartbeat")
		heartbeats.Reset(tickerTime(time.Duration(e.every.Load())))
	}
	e.online = on
}

// worker sends an event about the node (celery/worker/heartbeat.py). Without heartbeats it says nothing of when to expect one.
func (e *Events) worker(kind string) {
	running, processed := e.options.Load()
	fields := []field{{"active", running}, {"processed", processed}, {"loadavg", loadAverage()}, {"sw_ident", "py-celery"},
		{"sw_ver", e.options.Version}, {"sw_sys", system()}}
	if every := time.Duration(e.every.Load()); every > 0 {
		fields = append([]field{{"freq", every.Seconds()}}, fields...)
	}
	e.single(kind, fields...)
}

// heartbeat sends what the remote command of the name sends, be events on or off.
func (e *Events) heartbeat() {
	e.single("worker-heartbeat",
		field{"freq", 5}, field{"sw_ident", "py-celery"}, field{"sw_ver", e.options.Version}, field{"sw_sys", system()})
}

func (e *Events) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting) >= eventBatch
}

// flush publishes all that waits in one pipeline. After an error all of it waits again: a reader that gets an event twice
// is not harmed.
func (e *Events) flush(ctx context.Context) error {
	e.mu.Lock()
	taken, dropped := e.waiting, e.dropped
	e.waiting, e.bytes, e.dropped = nil, 0, 0
	e.mu.Unlock()
	if dropped > 0 {
		e.log.Warn("events lost", "events", dropped, "reason", "they could not be sent for too long")
	}
	if len(taken) == 0 {
		return nil
	}
	err := e.link.do(ctx, func(ctx context.Context, client *redis.Client) error {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error { return e.publish(ctx, p, taken) })
		return err
	})
	if err != nil {
		e.mu.Lock()
		for _, one := range taken {
			e.bytes += len(one.body)
		}
		e.waiting = append(taken, e.waiting...)
		e.trim()
		e.mu.Unlock()
	}
	return err
}

// publish writes the events in their order: runs of task events as lists.
func (e *Events) publish(ctx context.Context, p redis.Pipeliner, events []event) error {
	for len(events) > 0 {
		n, key, body := 1, events[0].routingKey, events[0].body
		if key == "" {
			for n < len(events) && n < eventBatch && events[n].routingKey == "" {
				n++
			}
			key, body = "task.multi", joinEvents(events[:n])
		}
		message, err := seal(jsonContent(body), map[string]string{"hostname": e.encoder.node}, e.names.EventExchange, key)
		if err != nil {
			return err
		}
		p.Publish(ctx, e.names.events(key), message)
		events = events[n:]
	}
	return nil
}

// wait returns false if ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
