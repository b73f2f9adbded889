package handler

import "sync"

// Overdue are the goroutines of a pool that were given up. Each holds its slot until it ends, whichever factory fills the slot then.
type Overdue struct {
	mu    sync.Mutex
	slots map[int]<-chan struct{} // by slot: closed when the goroutine that was given up there has ended
}

// Running is the number of those that have not ended.
func (o *Overdue) Running() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, ended := range o.slots {
		select {
		case <-ended:
		default:
			n++
		}
	}
	return n
}

// Holds tells whether one of them holds the slot.
func (o *Overdue) Holds(slot int) bool {
	ended := o.of(slot)
	select {
	case <-ended:
		return false
	default:
		return ended != nil
	}
}

func (o *Overdue) of(slot int) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.slots[slot]
}

func (o *Overdue) add(slot int, ended <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.slots == nil {
		o.slots = map[int]<-chan struct{}{}
	}
	o.slots[slot] = ended
}

// remove forgets the goroutine of a slot, if it is still that one.
func (o *Overdue) remove(slot int, ended <-chan struct{}) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.slots[slot] == ended
	if was {
		delete(o.slots, slot)
	}
	return was
}
