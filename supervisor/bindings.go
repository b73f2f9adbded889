package supervisor

import (
	"cmp"
	"strings"
	"unicode"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool/python"
)

// bindings are the ways to a queue: those of the application, else of who added it, else one by its own name, as Celery has it. What is sent to an
// exchange of type fanout lies in no list.
func (s *Supervisor) bindings(queue string) []broker.Binding {
	settings := s.current.Load().info.Settings
	known, ok := settings.Queues[queue]
	if !ok {
		q := s.consumed.bound(queue)
		known = python.QueueInfo{Exchange: cmp.Or(q.Exchange, queue), ExchangeType: q.ExchangeType, RoutingKey: cmp.Or(q.RoutingKey, queue)}
	}
	var all []broker.Binding
	for _, to := range append([]python.QueueInfo{known}, known.Further...) {
		switch to.ExchangeType {
		case "fanout":
		case "topic":
			all = append(all, broker.Binding{Exchange: to.Exchange, RoutingKey: to.RoutingKey, Pattern: pattern(to.RoutingKey, settings.Wildcards)})
		default:
			all = append(all, broker.Binding{Exchange: to.Exchange, RoutingKey: to.RoutingKey})
		}
	}
	return all
}

// pattern is the expression by which kombu finds whether a routing key is meant (kombu/transport/virtual/exchange.py key_to_pattern). What its
// wildcards stand for depends on its release: the wrong one would be a second binding beside that of stock workers.
func pattern(routingKey string, wildcards map[string]string) string {
	words := strings.Split(routingKey, ".")
	for i, word := range words {
		if any, ok := wildcards[word]; ok {
			words[i] = any
			continue
		}
		var escaped strings.Builder
		for _, r := range word {
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '#' && r != '*' {
				escaped.WriteByte('\\')
			}
			escaped.WriteRune(r)
		}
		words[i] = escaped.String()
	}
	return "^" + strings.Join(words, `\.`) + "$"
}
