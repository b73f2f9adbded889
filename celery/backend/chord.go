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
}

func partOf(r *celery.Request) chordPart {
	return chordPart{id: r.ID, group: r.Group, index: r.GroupIndex, body: r.Chord()}
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
	if why != nil {
		if err := b.failChord(ctx, p.body, why, r); err != nil {
			return err
		}
		// the parts stay until they expire, but a late copy of one must not fail the chord again
		return b.persist(ctx, "end chord", func() error { return b.Results.Del(ctx, b.Documents.GroupKey(p.group, ".s")).Err() })
	}
	plan, err := b.Sender.Apply(p.body, []pyjson.Raw{results}, celery.Options{}, r)
	if err != nil {
		exc := celery.ExceptionOf(err)
		return b.failChord(ctx, p.body, &failure{"Callback error: " + exc.Repr(), &exc}, r)
	}
	if err := b.perform(ctx, plan); err != nil {
		return err
	}
	return b.persist(ctx, "end chord", func() error {
		return doneScript.Run(ctx, b.Results, b.groupKeys(p.group, ".c", ".j", ".t", ".s", ".d"), p.id, int(doneMark/time.Second)).Err()
	})
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
	keys := b.groupKeys(p.group, ".j", ".t", ".s", ".d", "", ".c")
	var claimed int64
	err = b.persist(ctx, "store part of chord", func() error {
		claimed, err = partScript.Run(ctx, b.Results, keys, p.id, member, ordered, score, int(b.Expires/time.Second), int(claim/time.Second), p.id).Int64()
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
func (b *Backend) failChord(ctx context.Context, body *celery.Signature, why *failure, r *celery.Request) error {
	exc := celery.NewException("celery.exceptions.ChordError", why.message)
	failing, group := body.Failing()
	if group && why.cause != nil {
		exc = *why.cause
	}
	traceback := exc.LastLine() + "\n"
	rests := body.Rests()
	id := body.ResultID()
	b.Log.Warn("chord failed", "task", body.Task, "id", id, "error", why.message)
	value := exc.AppendJSON(nil)
	var docs []celery.Result
	for _, rest := range rests {
		if rest.ID == id { // Celery knows nothing of the body here but its id
			docs = append(docs, b.Documents.Unasked(id, "", "", nil, celery.StateFailure, value, traceback))
			continue
		}
		docs = append(docs, b.Documents.Unasked(rest.ID, rest.Group, rest.Parent, nil, celery.StateFailure, value, traceback))
	}
	if err := b.store(ctx, docs...); err != nil {
		return err
	}
	for _, f := range failing {
		if len(f.Errbacks) == 0 || f.ID == "" {
			continue
		}
		if err := b.errbacks(ctx, f.Errbacks, f.Task, f.ID, f.ID, r, exc, traceback); err != nil {
			return err
		}
	}
	for _, rest := range rests {
		if rest.Chord != nil { // the chord was a part of another one
			if err := b.part(ctx, chordPart{rest.ID, rest.Group, rest.GroupIndex, rest.Chord}, celery.StateFailure, value, r); err != nil {
				return err
			}
		}
	}
	return nil
}
