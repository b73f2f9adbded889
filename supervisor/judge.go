package supervisor

import (
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
)

// judge decides about a message whose node died while it held it. A task that is acknowledged early does not run again: a slot of ours
// records that it was lost (see [gate.admit]), and meanwhile it must not lie in its queue, where a stock worker would take it for new. For
// all others, and for tasks that this node does not know, the broker's own rule counts.
func (s *source) judge(_ string, raw []byte) broker.Settlement {
	now := time.Now()
	task, err := celery.Decode(raw, time.UTC)
	if err != nil {
		return broker.Settlement{}
	}
	g := s.gate()
	o, known := g.known(task.Name)
	switch {
	case !known || o.AcksLate || g.rules(task.Name).exhausted(task.Deliveries):
		return broker.Settlement{}
	case !task.Due(now) && task.Deliveries == 0:
		return broker.Settlement{Action: broker.PutBack} // it was to be parked, and cannot have run
	}
	return broker.Settlement{Action: broker.Inherit}
}
