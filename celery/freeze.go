package celery

import (
	"github.com/google/uuid"

	"github.com/agensium/agensium/celery/pyjson"
)

// freezing says what a signature takes over when its ids are fixed.
type freezing struct {
	id    string
	group string
	root  string
	chord *Signature
	index *int
}

// freeze fixes the ids of sig and of what it is made of, and returns the result that it ends in
// (canvas.py Signature.freeze and its overrides). An id that is there stays.
func (a *applier) freeze(sig *Signature, f freezing) (*Ref, error) {
	switch sig.kind {
	case kindChain:
		_, refs, err := a.prepareIn(sig, f)
		if err != nil {
			return nil, err
		}
		return refs[0], nil
	case kindGroup:
		return a.freezeGroup(sig, f)
	case kindChord:
		return a.freezeChord(sig, f)
	}
	o := &sig.Options
	o.freeze(f, a.ReplyTo)
	return &Ref{ID: o.TaskID, Ignored: a.ignores(sig)}, nil
}

func (o *Options) freeze(f freezing, replyTo string) {
	if o.TaskID == "" {
		o.TaskID = f.id
	}
	if o.TaskID == "" {
		o.TaskID = uuid.NewString()
	}
	set(&o.RootID, f.root)
	if o.ReplyTo == "" {
		o.ReplyTo = replyTo
	}
	if o.GroupID == "" {
		o.GroupID = f.group
	}
	set(&o.chord, f.chord)
	if f.index != nil {
		o.groupIndex = f.index
	}
}

func (a *applier) freezeGroup(sig *Signature, f freezing) (*Ref, error) {
	o := &sig.Options
	if o.TaskID == "" {
		o.TaskID = uuid.NewString()
	}
	set(&o.RootID, f.root)
	set(&o.chord, f.chord)
	ref := &Ref{ID: o.TaskID, Group: true}
	sig.Tasks = flatten(nil, sig.Tasks)
	for i, t := range sig.Tasks {
		// not the group's own id: that is given to its tasks when they are sent, and is never replaced from then on
		r, err := a.freeze(t, freezing{group: f.group, root: f.root, chord: f.chord, index: &i})
		if err != nil {
			return nil, err
		}
		ref.Children = append(ref.Children, r)
	}
	return ref, nil
}

// freezeChord fixes the header too, but leaves the body off its tasks: applyChord puts it there when it sends them,
// and messages of nested chords stay small.
func (a *applier) freezeChord(sig *Signature, f freezing) (*Ref, error) {
	header := &Signature{kind: kindGroup, Tasks: sig.Tasks, Options: Options{TaskID: sig.Options.TaskID}}
	headerRef, err := a.freezeGroup(header, freezing{root: f.root})
	if err != nil {
		return nil, err
	}
	sig.Tasks, sig.Options.TaskID = header.Tasks, headerRef.ID
	if sig.Body == nil {
		return headerRef, nil
	}
	ref, err := a.freeze(sig.Body, f)
	if err != nil {
		return nil, err
	}
	node := ref
	for node.Parent != nil && node.Parent != headerRef {
		node = node.Parent
	}
	node.Parent = headerRef
	return ref, nil
}

// prepareIn freezes a chain in place.
func (a *applier) prepareIn(sig *Signature, f freezing) ([]*Signature, []*Ref, error) {
	steps, refs, err := a.prepare(nil, sig.Tasks, f, nil)
	if err != nil {
		return nil, nil, err
	}
	sig.Tasks = make([]*Signature, len(steps))
	for i, s := range steps {
		sig.Tasks[len(steps)-1-i] = s
	}
	return steps, refs, nil
}

// prepare is canvas.py _chain.prepare_steps: nested chains are spliced in, a group before a step becomes a chord with
// the step as its body, every step gets its id. Both lists are in reverse: the step that runs first is the last.
func (a *applier) prepare(args []pyjson.Raw, tasks []*Signature, last freezing, linkError []*Signature) ([]*Signature, []*Ref, error) {
	pending := splice(nil, tasks)
	if len(pending) == 0 {
		return nil, nil, errEmpty
	}
	pending[0].partial(args)
	var steps []*Signature
	var refs []*Ref
	for i := len(pending) - 1; i >= 0; i-- {
		step := pending[i]
		if step.kind == kindGroup && len(steps) > 0 {
			// the step behind becomes the body; what was frozen of it stays
			body := steps[len(steps)-1]
			steps, refs = steps[:len(steps)-1], refs[:len(refs)-1]
			step = &Signature{Task: "celery.chord", kind: kindChord, Tasks: step.Tasks, Body: body, Options: step.Options, Immutable: step.Immutable}
		}
		f := freezing{root: last.root}
		if len(steps) == 0 {
			f = last
		}
		ref, err := a.freeze(step, f)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range linkError {
			step.linkError(e)
		}
		if len(refs) > 0 {
			oldest := refs[len(refs)-1]
			for oldest.Parent != nil {
				oldest = oldest.Parent
			}
			oldest.Parent = ref
		}
		steps, refs = append(steps, step), append(refs, ref)
	}
	return steps, refs, nil
}

// splice puts nested chains' steps in their place, drops groups without tasks and unrolls groups of one.
func splice(dst, tasks []*Signature) []*Signature {
	for _, t := range tasks {
		switch {
		case t.kind == kindChain:
			inner := splice(nil, t.Tasks)
			if len(inner) > 0 {
				inner[0].partial(t.Args)
				for _, e := range t.Options.LinkError {
					for _, s := range inner {
						s.linkError(e)
					}
				}
				for _, c := range t.Options.Link {
					linkLast(inner[len(inner)-1], c)
				}
			}
			dst = append(dst, inner...)
		case t.kind == kindGroup && len(t.Tasks) == 0:
		case t.kind == kindGroup && len(t.Tasks) == 1:
			dst = splice(dst, t.Tasks)
		default:
			dst = append(dst, t)
		}
	}
	return dst
}
