package backend

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
)

var (
	//go:embed chord_part.lua
	partSource string
	//go:embed chord_done.lua
	doneSource string

	partScript = redis.NewScript(partSource)
	doneScript = redis.NewScript(doneSource)
)

const (
	claim    = 30 * time.Second // for sending the body, until another copy of a part may
	doneMark = 5 * time.Minute  // how long a chord that is done is remembered
)

// chordPart is one task's place in a chord.
type chordPart struct {
	id, group string
	index     int // -1 if the message had none
	body      *celery.Signature
	again     bool // the message may be one of a chord that has ended
}

func partOf(r *celery.Request) chordPart {
	return chordPart{id: r.ID, group: r.Group, index: r.GroupIndex, body: r.Chord(), again: r.Redelivered}
}

// partOfRest is the place of a task that will not run.
func partOfRest(rest celery.Rest) chordPart {
	return chordPart{id: rest.ID, group: rest.Group, index: rest.GroupIndex, body: rest.Chord}
}

// part records that a task of a chord's header ended, and sends the body if it was the last (protocol notes C.6).
func (b *Backend) part(ctx context.Context, p chordPart, state celery.State, value pyjson.Raw, r *celery.Request) error {
	if p.group == "" || p.id == "" {
		return nil
	}
	last, err := b.addPart(ctx, p, state, value)
	if err != nil || !last {
		return err
	}
	results, why, err := b.join(ctx, p.group)
	if err != nil {
		return err
	}
	var plan *celery.Plan
	if why == nil {
		if plan, err = b.Sender.Apply(p.body, []pyjson.Raw{results}, celery.Options{}, r); err != nil {
			exc := celery.ExceptionOf(err)
			why = &failure{"Callback error: " + exc.Repr(), &exc}
		}
	}
	if why != nil {
		if err := b.failChord(ctx, p.body, why, r, nil); err != nil {
			return err
		}
		_, err := b.close(ctx, p.group)
		return err
	}
	if err := b.perform(ctx, plan); err != nil {
		return err
	}
	return b.persist(ctx, "end chord", func() error {
		return doneScript.Run(ctx, b.Results, b.groupKeys(p.group, ".c", ".j", ".t", ".s", ".d"), p.id, int(doneMark/time.Second)).Err()
	})
}

// close ends a chord that failed: the parts stay until they expire, but a late copy of one must not fail it again. open tells
// whether it had not ended before.
func (b *Backend) close(ctx context.Context, group string) (open bool, err error) {
	err = b.persist(ctx, "end chord", func() error {
		n, err := b.Results.Del(ctx, b.Documents.GroupKey(group, ".s")).Result()
		open = n > 0
		return err
	})
	return open, err
}

// failPart records that the result of a chord, which is a part of another one, failed. Celery tells the outer one nothing: it
// stays pending for ever, and its errbacks are called only because chord.link_error gives them to the inner one, too. Here it
// fails at once, and those in called, which have heard of it, are not called again.
func (b *Backend) failPart(ctx context.Context, p chordPart, value pyjson.Raw, r *celery.Request, called []*celery.Signature) error {
	if p.group == "" {
		return nil
	}
	last, err := b.addPart(ctx, p, celery.StateFailure, value)
	if err != nil {
		return err
	}
	open, err := b.close(ctx, p.group)
	if err != nil || !open && !last { // it has ended, or its size is not known yet: then the part that is last ends it
		return err
	}
	return b.failChord(ctx, p.body, dependency(p.id, value), r, called)
}

func (b *Backend) groupKeys(group string, suffixes ...string) []string {
	keys := make([]string, len(suffixes))
	for i, s := range suffixes {
		keys[i] = b.Documents.GroupKey(group, s)
	}
	return keys
}

// addPart adds the part and tells whether the body is ours to send.
func (b *Backend) addPart(ctx context.Context, p chordPart, state celery.State, value pyjson.Raw) (last bool, err error) {
	member := pyjson.AppendString([]byte(`[1, `), p.id)
	member = pyjson.AppendString(append(member, ", "...), string(state))
	member = append(append(append(member, ", "...), value...), ']')
	score, ordered := "+inf", 1
	if p.index >= 0 {
		score = strconv.Itoa(p.index)
	}
	if b.ChordUnordered {
		ordered = 0
	}
	again := 0
	if p.again {
		again = 1
	}
	keys := b.groupKeys(p.group, ".j", ".t", ".s", ".d", "", ".c")
	var claimed int64
	err = b.persist(ctx, "store part of chord", func() error {
		claimed, err = partScript.Run(ctx, b.Results, keys, p.id, member, ordered, score, int(b.Expires/time.Second), int(claim/time.Second), p.id, again).Int64()
		return err
	})
	return claimed == 1, err
}

// failure says why a chord's body does not run.
type failure struct {
	message string            // of the ChordError
	cause   *celery.Exception // of the part that failed; nil if it is not known
}

// join collects the results of a chord's header, or says why there are none.
func (b *Backend) join(ctx context.Context, group string) (pyjson.Raw, *failure, error) {
	var saved []byte
	err := b.persist(ctx, "read header of chord", func() error {
		var err error
		if saved, err = b.Results.Get(ctx, b.Documents.GroupKey(group, "")).Bytes(); errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if saved != nil {
		return b.joinSaved(ctx, saved)
	}
	var parts []string
	err = b.persist(ctx, "read parts of chord", func() error {
		var err error
		key := b.Documents.GroupKey(group, ".j")
		if b.ChordUnordered {
			parts, err = b.Results.LRange(ctx, key, 0, -1).Result()
		} else {
			parts, err = b.Results.ZRange(ctx, key, 0, -1).Result()
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	list := []byte{'['}
	for i, p := range parts {
		fields, err := pyjson.Elements(nil, []byte(p))
		if err != nil || len(fields) != 4 {
			return nil, &failure{"Join error: a part of the header is not readable", nil}, nil
		}
		var id, state string
		_ = pyjson.Decode(fields[1], &id, nil)
		_ = pyjson.Decode(fields[2], &state, nil)
		if failed(state) {
			return nil, dependency(id, fields[3]), nil
		}
		if i > 0 {
			list = append(list, ", "...)
		}
		list = append(list, fields[3]...)
	}
	return append(list, ']'), nil, nil
}

func failed(state string) bool { return state == "FAILURE" || state == "REVOKED" }

func dependency(id string, value pyjson.Raw) *failure {
	exc := readException(value)
	return &failure{fmt.Sprintf("Dependency %s raised %s", id, exc.Repr()), &exc}
}

func readException(value pyjson.Raw) celery.Exception {
	var e struct {
		Type   string     `json:"exc_type"`
		Module string     `json:"exc_module"`
		Args   pyjson.Raw `json:"exc_message"`
	}
	if err := pyjson.Decode(value, &e, nil); err != nil || e.Type == "" {
		return celery.NewException("Exception", value)
	}
	if len(e.Args) == 0 || e.Args[0] != '[' {
		e.Args = append(append([]byte{'['}, e.Args...), ']')
	}
	return celery.Exception{Type: e.Type, Module: e.Module, Args: e.Args}
}

// failChord fails the body: its errbacks, its result and whatever was to follow it (backends/base.py
// chord_error_from_stack). The tasks of a group fail with what the header failed with, any other body with a ChordError.
// called are errbacks that have heard of the failure.
func (b *Backend) failChord(ctx context.Context, body *celery.Signature, why *failure, r *celery.Request, called []*celery.Signature) error {
	exc := celery.NewException("celery.exceptions.ChordError", why.message)
	failing, group := body.Failing()
	if group && why.cause != nil {
		exc = *why.cause
	}
	traceback := exc.LastLine() + "\n"
	b.Log.Warn("chord failed", "task", body.Task, "id", body.ResultID(), "error", why.message)
	for _, f := range failing {
		list := celery.Without(f.Errbacks, called)
		if len(list) == 0 || f.ID == "" {
			continue
		}
		if err := b.errbacks(ctx, list, f.Task, f.ID, f.ID, r, exc, traceback); err != nil {
			return err
		}
	}
	value := exc.AppendJSON(nil)
	own, behind := body.Rests()
	if err := b.store(ctx, b.failures(body, failing, own, behind, r, value, traceback)...); err != nil {
		return err
	}
	for _, f := range failing {
		called = append(called[:len(called):len(called)], f.Errbacks...)
	}
	for _, rest := range own {
		if rest.Chord == nil {
			continue
		}
		if err := b.failPart(ctx, partOfRest(rest), value, r, called); err != nil {
			return err
		}
	}
	for _, rest := range behind {
		if rest.Chord == nil {
			continue
		}
		if err := b.part(ctx, partOfRest(rest), celery.StateFailure, value, r); err != nil {
			return err
		}
	}
	return nil
}

// failures are the documents of a body that fails. Celery knows nothing of it here but its id, and takes for its children what
// the task has sent that is at hand. A group has a document, too.
func (b *Backend) failures(body *celery.Signature, failing []celery.Failing, own, behind []celery.Rest, r *celery.Request, value pyjson.Raw, traceback string) []celery.Result {
	direct := map[string]bool{}
	for _, f := range failing {
		direct[f.ID] = true
	}
	var docs []celery.Result
	for _, rest := range own {
		group, parent, children := rest.Group, rest.Parent, []*celery.Ref(nil)
		if direct[rest.ID] {
			group, parent, children = "", "", r.Children()
		}
		docs = append(docs, b.Documents.Unasked(rest.ID, group, parent, children, celery.StateFailure, value, traceback))
	}
	if id := body.ResultID(); id != "" && !direct[id] {
		docs = append(docs, b.Documents.Unasked(id, "", "", r.Children(), celery.StateFailure, value, ""))
	}
	for _, rest := range behind {
		docs = append(docs, b.Documents.Unasked(rest.ID, rest.Group, rest.Parent, nil, celery.StateFailure, value, ""))
	}
	return docs
}
