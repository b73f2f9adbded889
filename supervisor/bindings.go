package supervisor

import (
	"cmp"

	"github.com/agensium/agensium/celery/broker"
)

// bindings are the ways to a queue: those of the application, else of who added it, else one by its own name, as Celery has it.
func (s *Supervisor) bindings(queue string) []broker.Binding {
	known, ok := s.current.Load().info.Settings.Queues[queue]
	if !ok {
		q := s.consumed.bound(queue)
		exchange := cmp.Or(q.Exchange, queue)
		return []broker.Binding{{Exchange: exchange, Type: cmp.Or(q.ExchangeType, "direct"), RoutingKey: cmp.Or(q.RoutingKey, queue)}}
	}
	all := []broker.Binding{{Exchange: known.Exchange, Type: known.ExchangeType, RoutingKey: known.RoutingKey}}
	for _, b := range known.Further {
		all = append(all, broker.Binding{Exchange: b.Exchange, Type: b.ExchangeType, RoutingKey: b.RoutingKey})
	}
	return all
}
