package broker

import "strings"

// Binding is a way from an exchange to a queue. A message whose sender names exchange and routing key alone, as one of task_routes may, finds its queue by
// what those who consume have written of it; without that kombu throws it away.
type Binding struct {
	Exchange   string // empty: none, the routing key is the queue
	RoutingKey string
	Pattern    string // what a topic exchange matches routing keys with; empty: it is of another type
}

const (
	bindingTable   = "_kombu.binding."
	permanentTable = "_kombu.binding_permanent." // of kombu 5.7: what has a member here is not swept
)

// member is that of kombu's tables (kombu/transport/redis.py _queue_bind, virtual/exchange.py prepare_bind).
func (b Binding) member(queue, separator string) string {
	return strings.Join([]string{b.RoutingKey, b.Pattern, queue}, separator)
}

// declare writes the bindings of queues with what the batch does besides, as a stock worker does when it connects. A refusal changes nothing here.
func (e *engine) declare(queues ...string) {
	if e.b.opt.Bindings == nil {
		return
	}
	for _, queue := range queues {
		for _, to := range e.b.opt.Bindings(queue) {
			if to.Exchange == "" {
				continue
			}
			for _, table := range []string{bindingTable, permanentTable} {
				e.batch.do(purposeRegistry, "SADD", e.ring.prefix+table+to.Exchange, to.member(queue, e.ring.separator))
			}
		}
	}
}
