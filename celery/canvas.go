package celery

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/agensium/agensium/celery/pyjson"
)

// Plan is what applying a signature comes to. Whoever carries it out writes Chords and Groups to the result store
// first, so that no part of a chord ends before its size is known, and then pushes Messages in their order.
type Plan struct {
	Chords   []ChordSize
	Groups   []SavedGroup
	Messages []Message
	Result   *Ref   // what the client waits for
	Sent     []*Ref // what becomes a child of the task that sent it
}

// ChordSize is the number of parts of a chord; its key ends in ".s" (protocol notes C.1).
type ChordSize struct {
	Group string
	Size  int
}

// SavedGroup is the header of a chord whose parts are groups themselves: the join needs its structure.
type SavedGroup struct {
	Group  string
	Result *Ref
}

// Ref names a result, as AsyncResult and GroupResult do in Python.
type Ref struct {
	ID       string
	Parent   *Ref
	Group    bool
	Children []*Ref // of a group
	Ignored  bool   // sent with IgnoreResult, or to a handler that has it: there will be no result
}

// appendTuple appends result.as_tuple(): [[id, parent], children].
func (r *Ref) appendTuple(dst []byte) []byte {
	if r == nil {
		return append(dst, null...)
	}
	dst = pyjson.AppendString(append(dst, '[', '['), r.ID)
	dst = append(r.Parent.appendTuple(append(dst, ", "...)), "], "...)
	if !r.Group {
		return append(dst, "null]"...)
	}
	return append(appendTuples(dst, r.Children), ']')
}

func appendTuples(dst []byte, refs []*Ref) []byte {
	dst = append(dst, '[')
	for i, r := range refs {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = r.appendTuple(dst)
	}
	return append(dst, ']')
}

// Document is the value of a saved group's key.
func (g SavedGroup) Document() []byte {
	return append(g.Result.appendTuple([]byte(`{"result": `)), '}')
}

// errEmpty is the refusal of a canvas without a task.
var errEmpty = errors.New("nothing in it to run")

// Apply works out the messages of a signature that is sent with args in front of its own and with the options in
// over. from is the task that sends it; nil for a client. s is not changed.
func (s *Sender) Apply(sig *Signature, args []pyjson.Raw, over Options, from *Request) (*Plan, error) {
	if err := sig.Err(); err != nil {
		return nil, fmt.Errorf("send %s: %w", sig.Task, err)
	}
	a := applier{Sender: s, from: from, plan: &Plan{}}
	return a.run(sig, args, over)
}

// applier carries one Apply. Signatures that it is given are its own to change.
type applier struct {
	*Sender
	from  *Request
	plan  *Plan
	depth int
	quiet bool // inside of a group: the group is the child, not its tasks
	again bool // a retry: the options are those of the first time
}

func (a *applier) run(sig *Signature, args []pyjson.Raw, over Options) (*Plan, error) {
	ref, err := a.apply(sig.clone(), args, over)
	if err != nil {
		return nil, fmt.Errorf("send %s: %w", sig.Task, err)
	}
	a.plan.Result = ref
	return a.plan, nil
}

func (a *applier) apply(sig *Signature, args []pyjson.Raw, over Options) (*Ref, error) {
	if a.depth++; a.depth > 100 {
		return nil, errors.New("chains, groups and chords nested too deeply")
	}
	defer func() { a.depth-- }()
	switch sig.kind {
	case kindChain:
		return a.applyChain(sig, args, over)
	case kindGroup:
		return a.applyGroup(sig, args, over)
	case kindChord:
		return a.applyChord(sig, args, over)
	}
	sig.partial(args)
	sig.Options = sig.Options.merge(over)
	o := &sig.Options
	if o.TaskID == "" {
		o.TaskID = uuid.NewString()
	}
	if a.from != nil {
		if a.InheritPriority && !a.again && o.Priority == 0 && (o.RootID == "" || o.ParentID == "") {
			o.Priority = a.from.Priority
		}
		set(&o.RootID, first(o.RootID, first(a.from.RootID, a.from.ID)))
		set(&o.ParentID, first(o.ParentID, a.from.ID))
	}
	if h := a.Tasks.Lookup(sig.Task); h != nil && !a.again && o.Expires.IsZero() && o.ExpiresIn == 0 {
		o.ExpiresIn = h.Expires
	}
	m, err := a.message(sig)
	if err != nil {
		return nil, err
	}
	a.plan.Messages = append(a.plan.Messages, m)
	ref := &Ref{ID: o.TaskID, Ignored: a.ignores(sig)}
	a.sent(ref)
	return ref, nil
}

func (a *applier) sent(ref *Ref) {
	if !a.quiet {
		a.plan.Sent = append(a.plan.Sent, ref)
	}
}

// applyChain is canvas.py _chain.run: the first step is sent, the others travel with it in reverse.
func (a *applier) applyChain(sig *Signature, args []pyjson.Raw, over Options) (*Ref, error) {
	o := sig.Options.merge(over)
	if sig.Immutable {
		args = nil
	}
	p := freezing{id: o.TaskID, group: o.GroupID, chord: o.chord, root: o.RootID, index: o.groupIndex}
	steps, refs, err := a.prepare(append(args[:len(args):len(args)], sig.Args...), sig.Tasks, p, o.LinkError)
	if err != nil {
		return nil, err
	}
	for _, c := range o.Link {
		linkLast(steps[0], c)
	}
	rest := steps[:len(steps)-1]
	if o.chain != nil {
		rest = append(o.chain[:len(o.chain):len(o.chain)], rest...)
	}
	o.TaskID, o.GroupID, o.chord, o.groupIndex, o.Link, o.LinkError = "", "", nil, nil, nil, nil
	o.chain = emptyNotNil(rest)
	ref, err := a.apply(steps[len(steps)-1], nil, o)
	if err != nil || len(steps) == 1 {
		return ref, err
	}
	return refs[0], nil
}

// applyGroup is canvas.py group.apply_async. The size of a chord counts what its parts count for.
func (a *applier) applyGroup(sig *Signature, args []pyjson.Raw, over Options) (*Ref, error) {
	o := sig.Options.merge(over)
	if len(o.Link) > 0 {
		return nil, errors.New("a group takes no link: make it the header of a chord")
	}
	group := o.TaskID
	if group == "" {
		group = uuid.NewString()
	}
	o.TaskID, o.GroupID, o.groupIndex = "", group, nil
	tasks := flatten(nil, sig.Tasks)
	ref := &Ref{ID: group, Group: true}
	size := 0
	chord := o.chord
	for i, t := range tasks {
		t.partial(args)
		if chord == nil {
			chord = t.Options.chord
		}
		r, err := a.freeze(t, freezing{group: group, root: o.RootID, index: &i, chord: chord})
		if err != nil {
			return nil, err
		}
		size += parts(t)
		ref.Children = append(ref.Children, r)
	}
	if chord != nil && len(tasks) > 0 {
		a.plan.Chords = append(a.plan.Chords, ChordSize{Group: group, Size: size})
	}
	o.chord = nil
	a.sent(ref)
	defer func(quiet bool) { a.quiet = quiet }(a.quiet)
	a.quiet = true
	for i, t := range tasks {
		each := o
		each.GroupID = ""
		each.chord = chord
		for _, e := range o.LinkError {
			t.linkError(e)
		}
		each.LinkError = nil
		r, err := a.apply(t, nil, each)
		if err != nil {
			return nil, err
		}
		ref.Children[i].Ignored = r.Ignored
	}
	return ref, nil
}

// flatten unrolls groups in groups; each keeps its place.
func flatten(dst, tasks []*Signature) []*Signature {
	for _, t := range tasks {
		switch {
		case t.kind == kindGroup:
			dst = flatten(dst, t.Tasks)
		case t.kind == kindChain && len(t.Tasks) == 0:
		default:
			dst = append(dst, t)
		}
	}
	return dst
}

// parts is canvas.py _chord._descend: how many parts of a chord a signature ends in.
func parts(s *Signature) int {
	switch {
	case s == nil:
		return 0
	case s.kind == kindGroup:
		n := 0
		for _, t := range s.Tasks {
			n += parts(t)
		}
		return n
	case s.kind == kindChain:
		for i := len(s.Tasks) - 1; i >= 0; i-- {
			if n := parts(s.Tasks[i]); n > 0 {
				return n
			}
		}
		return 0
	case s.kind == kindChord:
		return parts(s.Body)
	}
	return 1
}

// applyChord is canvas.py _chord.run: each task of the header carries the body, and whichever ends last sends it.
func (a *applier) applyChord(sig *Signature, args []pyjson.Raw, over Options) (*Ref, error) {
	if sig.Body == nil {
		return nil, errors.New("a chord without a body")
	}
	o := sig.Options.merge(over)
	group := sig.Options.TaskID
	if group == "" || group == over.TaskID {
		group = uuid.NewString()
	}
	body := sig.Body
	for _, c := range o.Link {
		linkLast(body, c)
	}
	for _, e := range o.LinkError {
		body.linkError(e)
	}
	id := first(over.TaskID, sig.Options.TaskID)
	o.Link, o.LinkError, o.TaskID, o.GroupID, o.groupIndex = nil, nil, "", "", nil
	bodyOptions := o
	bodyOptions.ParentID, bodyOptions.Countdown = "", 0 // the task of the header that ends last is the parent
	bodyOptions.ETA = sig.Body.Options.ETA
	body.Options = body.Options.merge(bodyOptions)
	p := freezing{id: id, root: body.Options.RootID, group: first(over.GroupID, sig.Options.GroupID)}
	if p.group == "" {
		p.group = group // Celery since 5.3 shows the header's group on its body
	}
	p.index = sig.Options.groupIndex
	ref, err := a.freeze(body, p)
	if err != nil {
		return nil, err
	}
	if len(flatten(nil, sig.Tasks)) == 0 {
		_, err := a.apply(body, []pyjson.Raw{pyjson.Raw("[]")}, Options{})
		return ref, err
	}
	header := &Signature{Task: "celery.group", kind: kindGroup, Tasks: sig.Tasks, Options: Options{TaskID: group}}
	o.chain, o.chord = nil, body
	if sig.Immutable {
		args = nil
	}
	headerRef, err := a.applyGroup(header, args, o)
	if err != nil {
		return nil, err
	}
	for _, c := range headerRef.Children {
		if c.Group {
			a.plan.Groups = append(a.plan.Groups, SavedGroup{Group: group, Result: headerRef})
			break
		}
	}
	root := ref
	for root.Parent != nil {
		root = root.Parent
	}
	root.Parent = headerRef
	return ref, nil
}

// linkLast links to what ends last in s.
func linkLast(s *Signature, c *Signature) {
	switch s.kind {
	case kindChain:
		if len(s.Tasks) > 0 {
			linkLast(s.Tasks[len(s.Tasks)-1], c)
		}
	case kindChord:
		linkLast(s.Body, c)
	case kindGroup:
		if len(s.Tasks) > 0 {
			c = c.clone()
			c.Immutable = true
			linkLast(s.Tasks[0], c)
		}
	default:
		s.link(c)
	}
}
