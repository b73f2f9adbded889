package control

import (
	"context"
	"encoding/json"
	"errors"
)

// Queue is a queue that is consumed from, or is to be.
type Queue struct {
	Name         string
	Exchange     string // empty: named like the queue
	ExchangeType string // empty: direct
	RoutingKey   string // empty: named like the queue
	// Definition is what kombu's Queue.as_dict(recurse=True) gives for a queue that the application defines; nil for others.
	Definition json.RawMessage
}

// MarshalJSON is kombu's Queue.as_dict(recurse=True).
func (q Queue) MarshalJSON() ([]byte, error) {
	if q.Definition != nil {
		return q.Definition, nil
	}
	type exchange struct {
		Name         string  `json:"name"`
		Type         string  `json:"type"`
		Arguments    *string `json:"arguments"`
		Durable      bool    `json:"durable"`
		Passive      bool    `json:"passive"`
		AutoDelete   bool    `json:"auto_delete"`
		DeliveryMode *int    `json:"delivery_mode"`
		NoDeclare    bool    `json:"no_declare"`
	}
	return json.Marshal(struct {
		Name              string   `json:"name"`
		Exchange          exchange `json:"exchange"`
		RoutingKey        string   `json:"routing_key"`
		QueueArguments    *string  `json:"queue_arguments"`
		BindingArguments  *string  `json:"binding_arguments"`
		ConsumerArguments *string  `json:"consumer_arguments"`
		Durable           bool     `json:"durable"`
		Exclusive         bool     `json:"exclusive"`
		AutoDelete        bool     `json:"auto_delete"`
		NoAck             bool     `json:"no_ack"`
		Alias             *string  `json:"alias"`
		Bindings          []string `json:"bindings"`
		NoDeclare         *bool    `json:"no_declare"`
		Expires           *float64 `json:"expires"`
		MessageTTL        *float64 `json:"message_ttl"`
		MaxLength         *int     `json:"max_length"`
		MaxLengthBytes    *int     `json:"max_length_bytes"`
		MaxPriority       *int     `json:"max_priority"`
	}{
		Name:       q.Name,
		Exchange:   exchange{Name: or(q.Exchange, q.Name), Type: or(q.ExchangeType, "direct"), Durable: true},
		RoutingKey: or(q.RoutingKey, q.Name), Durable: true, Bindings: []string{},
	})
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func activeQueues(_ context.Context, c *commands, _ Arguments) (any, error) {
	if c.of.Consumers == nil {
		return nil, missing("active_queues")
	}
	queues := c.of.Consumers.Queues()
	if queues == nil {
		queues = []Queue{}
	}
	return queues, nil
}

func addConsumer(ctx context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Consumers == nil {
		return nil, missing("add_consumer")
	}
	var q Queue
	err := errors.Join(
		arg(args, "queue", &q.Name), arg(args, "exchange", &q.Exchange),
		arg(args, "exchange_type", &q.ExchangeType), arg(args, "routing_key", &q.RoutingKey),
	)
	if err != nil {
		return nil, err
	}
	if q.Name == "" {
		return nil, exception{"ValueError", "the queue has no name"}
	}
	if err := c.of.Consumers.AddConsumer(ctx, q); err != nil {
		return nil, err
	}
	return done("add consumer " + q.Name), nil
}

func cancelConsumer(ctx context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Consumers == nil {
		return nil, missing("cancel_consumer")
	}
	var name string
	if err := arg(args, "queue", &name); err != nil {
		return nil, err
	}
	if err := c.of.Consumers.CancelConsumer(ctx, name); err != nil {
		return nil, err
	}
	return done("no longer consuming from " + name), nil
}
