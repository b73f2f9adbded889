package broker

// Spare lets the broker claim one message for which no slot waits, and hold it for the next one that does: with no slot at all, or with none
// free and room for more, somebody has to notice that a message came. told is called, and must not wait, when there is one. Nil
// ends that: what is held goes back to the consuming end of its queue. It may be called by anyone at any time.
func (b *Broker) Spare(told func()) {
	b.inbox.call(func() { b.eng.setSpare(told) })
}

// Held tells whether a message is held for a slot that is to come.
func (b *Broker) Held() bool { return b.tally.held.Load() }

func (e *engine) setSpare(told func()) {
	e.spare = told
	switch c := e.held; {
	case told != nil && c == nil && len(e.unserved) > 0:
		last := len(e.unserved) - 1
		e.held = e.unserved[last]
		e.unserved = e.unserved[:last]
		e.tell()
	case told == nil && c != nil && c.heir:
		e.held = nil
		e.unserved = append(e.unserved, c)
	case told == nil && c != nil:
		e.held = nil
		e.giveBack(c)
	}
}

// spareWaits tells whether one message may be claimed although no slot waits for it.
func (e *engine) spareWaits() bool {
	return e.spare != nil && e.held == nil && !e.draining && !e.paused
}

// withSpare is how many messages to claim when so many slots wait, or will.
func (e *engine) withSpare(slots int) int {
	switch {
	case e.spareWaits():
		return slots + 1
	case e.held != nil && slots > 0 && e.mayServe(e.held, slots):
		return slots - 1 // the first of them gets it
	}
	return slots
}

// hold keeps a claim for which no slot waits, if one may be kept.
func (e *engine) hold(c *claim) bool {
	if !e.spareWaits() {
		return false
	}
	e.held = c
	e.b.lease.busy(true)
	e.tell()
	return true
}

// tell says that a message is held: who is told finds it so.
func (e *engine) tell() {
	e.tally.held.Store(true)
	e.spare()
}

// handHeld gives the claim that is held to a slot.
func (e *engine) handHeld(w *work) bool {
	if e.held == nil || !e.mayServe(e.held, len(e.waiters)+1) || !w.answer(&e.held.Delivery, nil) {
		return false
	}
	e.held = nil
	return true
}
