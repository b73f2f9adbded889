package celery

import (
	"errors"
	"time"

	"github.com/agensium/agensium/celery/pyjson"
)

// FollowUps works out what a task that succeeded with value sends: its callbacks and the next step of its chain
// (protocol notes D.2, D.4). What is sent is recorded in r.
func (s *Sender) FollowUps(r *Request, value pyjson.Raw) ([]*Plan, error) {
	var plans []*Plan
	args := []pyjson.Raw{value}
	send := func(sig *Signature, over Options) error {
		over.ParentID, over.RootID = r.ID, r.Root()
		if s.InheritPriority {
			over.Priority = r.Priority // stronger than the signature's own, as in Celery
		}
		plan, err := s.Apply(sig, args, over, r)
		if err == nil {
			plans = append(plans, plan)
		}
		return err
	}
	var plain []*Signature
	for _, c := range r.callbacks {
		if len(r.callbacks) == 1 || c.kind == kindGroup {
			if err := send(c, Options{}); err != nil {
				return nil, err
			}
		} else {
			plain = append(plain, c)
		}
	}
	if len(plain) > 0 {
		if err := send(Group(plain...), Options{}); err != nil {
			return nil, err
		}
	}
	if n := len(r.chain); n > 0 {
		if err := send(r.chain[n-1], Options{chain: emptyNotNil(r.chain[:n-1])}); err != nil {
			return nil, err
		}
	}
	for _, p := range plans {
		for _, ref := range p.Sent {
			r.Sent(ref)
		}
	}
	return plans, nil
}

// ErrbackPlan works out the messages of old style errbacks: all in one group, each with the id of the task that
// failed (protocol notes D.3). from is the task under which they are sent; its root and id are not inherited.
func (s *Sender) ErrbackPlan(errbacks []*Signature, id, root string, from *Request) (*Plan, error) {
	raw := pyjson.Raw(pyjson.AppendString(nil, id))
	plan, err := s.Apply(Group(errbacks...), []pyjson.Raw{raw}, Options{ParentID: id, RootID: first(root, id)}, from)
	if err == nil && from != nil {
		for _, ref := range plan.Sent {
			from.Sent(ref)
		}
	}
	return plan, err
}

// ErrbackJob makes the message of a failed task that only its errbacks are called for, by an executor that can run new
// style ones. of is the task, or the body of a failed chord; id and root are its own.
func (s *Sender) ErrbackJob(errbacks []*Signature, of *Signature, id, root string) (*Task, error) {
	carrier := of.clone()
	carrier.Options = Options{TaskID: id, RootID: first(root, id), ParentID: of.Options.ParentID, GroupID: of.Options.GroupID,
		Retries: of.Options.Retries, LinkError: errbacks, IgnoreResult: true}
	m, err := s.message(carrier)
	if err != nil {
		return nil, err
	}
	return Decode(m.Raw, nil)
}

// Signature is the call that r came from.
func (r *Request) Signature() (*Signature, error) {
	sig := &Signature{Task: r.Name, Options: Options{TaskID: r.ID, ParentID: r.ParentID, GroupID: r.Group, Retries: r.Retries}}
	var err error
	if sig.Args, err = pyjson.Elements(nil, r.Args); err != nil {
		return nil, err
	}
	sig.Kwargs, err = pyjson.Members(nil, r.Kwargs)
	return sig, err
}

// ErrRetriesExhausted says that a task has used up its retries.
var ErrRetriesExhausted = errors.New("no retries left")

// Retry works out the message that runs r again after a delay, as Task.retry does (protocol notes D.5): same id,
// arguments and canvas, one more retry, to the queue that it came from. A limit below 0 means none.
func (s *Sender) Retry(r *Request, after time.Duration, limit int) (*Plan, error) {
	if limit >= 0 && r.Retries+1 > limit {
		return nil, ErrRetriesExhausted
	}
	sig := &Signature{Task: r.Name}
	var err error
	if sig.Args, err = pyjson.Elements(nil, r.Args); err != nil {
		return nil, err
	}
	if sig.Kwargs, err = pyjson.Members(nil, r.Kwargs); err != nil {
		return nil, err
	}
	o := Options{
		TaskID: r.ID, Queue: first(r.Queue, r.RoutingKey), Priority: r.Priority, Countdown: after, Expires: r.Expires,
		TimeLimit: r.TimeLimit, SoftTimeLimit: r.SoftTimeLimit, Retries: r.Retries + 1, Shadow: r.Shadow, IgnoreResult: r.IgnoreResult,
		ReplyTo: r.ReplyTo, RootID: r.Root(), ParentID: r.ParentID, GroupID: r.Group,
		Link: r.callbacks, LinkError: r.errbacks, chain: r.chain, chord: r.chord, origin: r.Origin,
	}
	if r.GroupIndex >= 0 && r.Group != "" {
		o.groupIndex = &r.GroupIndex
	}
	if err := o.keepHeaders(r); err != nil {
		return nil, err
	}
	if after <= 0 {
		o.Countdown = 0
	}
	sig.Options = o
	a := applier{Sender: s, from: r, plan: &Plan{}, again: true}
	plan, err := a.run(sig, nil, Options{})
	if err == nil {
		r.Sent(plan.Result)
	}
	return plan, err
}

// protocolHeaders are the headers that a message has of its own; all others are the application's.
var protocolHeaders = map[string]bool{
	"lang": true, "task": true, "id": true, "shadow": true, "eta": true, "expires": true, "group": true, "group_index": true,
	"retries": true, "timelimit": true, "root_id": true, "parent_id": true, "argsrepr": true, "kwargsrepr": true, "origin": true,
	"ignore_result": true, "replaced_task_nesting": true, "stamped_headers": true, "stamps": true, "compression": true,
	"redelivered": true, HeaderDeliveries: true, HeaderParked: true, "x-death": true,
}

// keepHeaders takes over the application's headers and the stamps of r's message.
func (o *Options) keepHeaders(r *Request) error {
	if len(r.Raw) == 0 {
		return nil
	}
	envelope, err := pyjson.Members(nil, r.Raw)
	if err != nil {
		return err
	}
	for _, part := range envelope {
		if part.Key != "headers" {
			continue
		}
		headers, err := pyjson.Members(nil, part.Value)
		if err != nil {
			return err
		}
		for _, h := range headers {
			switch {
			case h.Key == "stamped_headers" && string(h.Value) != "null":
				o.stamped = h.Value
			case h.Key == "stamps":
				o.stamps, err = pyjson.Members(nil, h.Value)
			case h.Key == "replaced_task_nesting":
				err = pyjson.Decode(h.Value, &o.nesting, nil)
			case !protocolHeaders[h.Key]:
				o.headers = append(o.headers, h)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Rest is one step of a chain that can no longer run, or a body that will not be sent.
type Rest struct {
	ID, Group, Parent string
	GroupIndex        int        // -1 if absent
	Chord             *Signature // body of the chord that the step would have been a part of
}

// Remains lists what waits behind a failure in chain: each step that has a result of its own, the bodies of chords
// included (celery/backends/base.py _fail_chain).
func Remains(chain []*Signature) []Rest {
	var rests []Rest
	pending := append([]*Signature(nil), chain...)
	for len(pending) > 0 {
		s := pending[0]
		pending = pending[1:]
		switch s.kind {
		case kindChord:
			if s.Body != nil {
				pending = append(pending, s.Body)
			}
			continue
		case kindGroup, kindChain:
			pending = append(pending, s.Tasks...)
			continue
		}
		o := &s.Options
		rest := Rest{ID: o.TaskID, Group: o.GroupID, Parent: o.ParentID, GroupIndex: -1, Chord: o.chord}
		if o.groupIndex != nil {
			rest.GroupIndex = *o.groupIndex
		}
		if rest.ID != "" {
			rests = append(rests, rest)
		}
	}
	return rests
}

// Failing is a task that fails because the header of its chord did, and the errbacks to call for it.
type Failing struct {
	ID       string
	Task     *Signature
	Errbacks []*Signature
}

// Failing lists what fails as the body of a chord whose header failed: s, or each task of a group, which has the errbacks of the
// group, too (celery/backends/base.py chord_error_from_stack). group tells which.
func (s *Signature) Failing() (list []Failing, group bool) {
	if s.kind != kindGroup {
		return []Failing{{s.ResultID(), s, s.Options.LinkError}}, false
	}
	for _, t := range s.Tasks {
		list = append(list, Failing{t.ResultID(), t, distinct(append(t.resultErrbacks(), s.Options.LinkError...))})
	}
	return list, true
}

// Rests lists the ids that will never run if s does not: its own, and those behind it in a chain.
func (s *Signature) Rests() (own, behind []Rest) {
	return Remains([]*Signature{s}), Remains(s.Options.chain)
}

// resultErrbacks are the errbacks of the result that s ends in: a chord's is its body's.
func (s *Signature) resultErrbacks() (list []*Signature) {
	for ; s.kind == kindChord && s.Body != nil; s = s.Body {
		list = append(list, s.Options.LinkError...)
	}
	list = append(list, s.Options.LinkError...)
	if s.kind == kindGroup {
		for _, t := range s.Tasks {
			list = append(list, t.resultErrbacks()...)
		}
	}
	return list
}

// distinct keeps the first of signatures that are the same.
func distinct(list []*Signature) []*Signature { return Without(list, nil) }

// Without is list without duplicates, and without what is in other.
func Without(list, other []*Signature) (kept []*Signature) {
	seen := map[string]bool{}
	for _, s := range other {
		if text, err := s.appendJSON(nil); err == nil {
			seen[string(text)] = true
		}
	}
	for _, s := range list {
		text, err := s.appendJSON(nil)
		if err != nil || seen[string(text)] {
			continue
		}
		seen[string(text)] = true
		kept = append(kept, s)
	}
	return kept
}

// ResultID is the id of the result that a frozen signature ends in; empty if it has none.
func (s *Signature) ResultID() string {
	switch {
	case s.kind == kindChain && len(s.Tasks) > 0:
		return s.Tasks[len(s.Tasks)-1].ResultID()
	case s.kind == kindChord && s.Body != nil:
		return s.Body.ResultID()
	}
	return s.Options.TaskID
}
