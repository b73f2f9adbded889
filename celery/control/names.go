package control

import (
	"strconv"
	"strings"
)

// Names are the keys and channels of remote control and events in one Redis database (kombu/transport/redis.py,
// protocol notes B.1 and B.9).
type Names struct {
	Prefix          string // global_keyprefix: stands before every key and every channel
	Fanout          string // before the exchange in a channel: "/0." for database 0, or the option fanout_prefix
	FlatEvents      bool   // fanout_patterns is off: one channel for all events
	Separator       string // between the parts of a binding
	ControlExchange string // setting control_exchange: "celery"
	EventExchange   string // setting event_exchange: "celeryev"
}

// NewNames reads the names from the application's settings: the database of the broker, its transport options
// (global_keyprefix, fanout_prefix, fanout_patterns, sep) and the two exchanges; empty ones mean Celery's defaults.
func NewNames(db int, transport map[string]any, controlExchange, eventExchange string) Names {
	n := Names{Fanout: "/{db}.", Separator: "\x06\x16", ControlExchange: "celery", EventExchange: "celeryev"}
	switch prefix := transport["fanout_prefix"].(type) {
	case string:
		n.Fanout = prefix
	case bool:
		if !prefix {
			n.Fanout = ""
		}
	}
	n.Fanout = strings.ReplaceAll(n.Fanout, "{db}", strconv.Itoa(db))
	if patterns, ok := transport["fanout_patterns"].(bool); ok {
		n.FlatEvents = !patterns
	}
	if prefix, ok := transport["global_keyprefix"].(string); ok {
		n.Prefix = prefix
	}
	if sep, ok := transport["sep"].(string); ok && sep != "" {
		n.Separator = sep
	}
	if controlExchange != "" {
		n.ControlExchange = controlExchange
	}
	if eventExchange != "" {
		n.EventExchange = eventExchange
	}
	return n
}

// requests is the channel that carries control requests.
func (n Names) requests() string { return n.Prefix + n.Fanout + n.ControlExchange + ".pidbox" }

// events is the channel for events of a routing key such as "worker.heartbeat".
func (n Names) events(routingKey string) string {
	if n.FlatEvents {
		return n.Prefix + n.Fanout + n.EventExchange
	}
	return n.Prefix + n.Fanout + n.EventExchange + "/" + routingKey
}

// mailbox is the set that lists the nodes' mailboxes, and our member of it.
func (n Names) mailbox(node string) (key, member string) {
	exchange := n.ControlExchange + ".pidbox"
	return n.binding(exchange), n.member("", node+"."+exchange)
}

// replyExchange is the only exchange that we reply to.
func (n Names) replyExchange() string { return "reply." + n.ControlExchange + ".pidbox" }

// reply tells where the client with this routing key reads its replies: the list, and the member of the set that
// exists as long as it does.
func (n Names) reply(routingKey string) (list, key, member string) {
	queue := routingKey + "." + n.replyExchange()
	return n.Prefix + queue, n.binding(n.replyExchange()), n.member(routingKey, queue)
}

// revoked is the key, and the channel, of the list of revoked tasks that all nodes share.
func (n Names) revoked() string { return n.Prefix + "agensium:revoked" }

func (n Names) binding(exchange string) string { return n.Prefix + "_kombu.binding." + exchange }

func (n Names) member(routingKey, queue string) string {
	return routingKey + n.Separator + n.Separator + queue
}

// Touched are examples of the keys and channels that a node uses, one for each pattern that an ACL needs. A node subscribes to
// requests as to a pattern, which an ACL has to have in just these words.
func (n Names) Touched() (keys, channels []string, requests string) {
	mailbox, _ := n.mailbox("check")
	reply, binding, _ := n.reply("check")
	return []string{mailbox, reply, binding}, []string{n.events("worker.heartbeat")}, n.requests()
}
