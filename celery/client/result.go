package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
)

// ErrIgnored is the end of a wait for a task that was sent with IgnoreResult, or to a handler that has it: nobody stores how it ends.
var ErrIgnored = errors.New("its result is not stored: IgnoreResult")

// ErrGroup refuses what only a task has: the results of a group are its Children's.
var ErrGroup = errors.New("a group has no document of its own")

// Get waits until the task has ended and reads its value into target, a pointer; nil drops the value. It waits for
// the publication of the result and does not poll. For a group the values of its tasks are read as a list, and the first of them that fails
// ends the wait. A task that failed gives a *TaskError, and so does a step before it in its chain that failed or was revoked, since the task
// will never run then. An outage of Redis during the wait is waited out; one at its beginning gives the error of a few attempts to connect, after
// which Get may be called again.
func (r *Result) Get(ctx context.Context, target any) error {
	docs, err := r.gather(ctx, true)
	if err != nil {
		return err
	}
	if target == nil {
		return nil
	}
	if err := pyjson.Decode(appendValue(nil, r.Ref, docs), target, nil); err != nil {
		return fmt.Errorf("read result of task %s: %w", r.Ref.ID, err)
	}
	return nil
}

// Wait waits until the task has ended and returns its document, whatever its state. The error is a *TaskError if a step before it in its
// chain failed or was revoked and the task has no document.
func (r *Result) Wait(ctx context.Context) (*Document, error) {
	if r.Ref.Group {
		return nil, fmt.Errorf("wait for %s: %w", r.Ref.ID, ErrGroup)
	}
	docs, err := r.gather(ctx, false)
	var before *TaskError
	if errors.As(err, &before) { // whoever failed it has failed what comes behind it, too, as a rule
		if d, err := r.Document(ctx); err == nil && d.Ready() {
			return d, nil
		}
	}
	return docs[r.Ref.ID], err
}

// gather waits for the documents of r's tasks, by their ids. It ends with the first failure: of a step before them, or with propagate of
// one of theirs.
func (r *Result) gather(ctx context.Context, propagate bool) (map[string]*Document, error) {
	var tasks, steps []*celery.Ref
	collect(r.Ref, &tasks, &steps)
	open, ids := map[string]bool{}, map[string]string{}
	var keys []string
	for _, ref := range steps {
		key := r.client.documents.Key(ref.ID)
		keys, ids[key] = append(keys, key), ref.ID
	}
	for _, ref := range tasks {
		if ref.Ignored {
			return nil, fmt.Errorf("wait for task %s: %w", ref.ID, ErrIgnored)
		}
		key := r.client.documents.Key(ref.ID)
		keys, ids[key], open[ref.ID] = append(keys, key), ref.ID, true
	}
	docs := map[string]*Document{}
	if len(open) == 0 {
		return docs, nil
	}
	var failure error
	err := r.client.waiters.wait(ctx, keys, func(key string, text []byte) bool {
		id := ids[key]
		d, err := parse(text, id)
		_, asked := open[id]
		switch {
		case err != nil && asked:
			failure = fmt.Errorf("task %s: %w", id, err)
		case err != nil || !d.Ready():
		case asked && (d.State == celery.StateSuccess || !propagate):
			docs[id], open[id] = d, false
			return len(docs) == len(open)
		default:
			failure = d.failure()
		}
		return failure != nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for task %s: %w", r.Ref.ID, err)
	}
	return docs, failure
}

// collect lists the tasks that ref stands for, and the steps that run before them in their chains. The parts of a chord before its body are
// none of these: however they end, the body does too.
func collect(ref *celery.Ref, tasks, steps *[]*celery.Ref) {
	for p := ref.Parent; p != nil; p = p.Parent {
		if !p.Group && !p.Ignored {
			*steps = append(*steps, p)
		}
	}
	if !ref.Group {
		*tasks = append(*tasks, ref)
		return
	}
	for _, c := range ref.Children {
		collect(c, tasks, steps)
	}
}

// appendValue appends the value of what ref stands for.
func appendValue(dst pyjson.Raw, ref *celery.Ref, docs map[string]*Document) pyjson.Raw {
	if !ref.Group {
		return append(dst, docs[ref.ID].Result...)
	}
	dst = append(dst, '[')
	for i, c := range ref.Children {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendValue(dst, c, docs)
	}
	return append(dst, ']')
}

// Document reads what is stored now.
func (r *Result) Document(ctx context.Context) (*Document, error) {
	if r.Ref.Group {
		return nil, fmt.Errorf("read %s: %w", r.Ref.ID, ErrGroup)
	}
	text, err := r.client.results.Get(ctx, r.client.documents.Key(r.Ref.ID)).Bytes()
	if errors.Is(err, redis.Nil) {
		return &Document{ID: r.Ref.ID, State: "PENDING", Result: pyjson.Raw("null")}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read result of task %s: %w", r.Ref.ID, err)
	}
	return parse(text, r.Ref.ID)
}

// Forget removes the result; for a group, those of its tasks. As in Celery the results of the steps before it go, too.
func (r *Result) Forget(ctx context.Context) error {
	keys := r.client.keys(nil, r.Ref)
	if err := r.client.results.Del(ctx, keys...).Err(); err != nil {
		return fmt.Errorf("forget result of task %s: %w", r.Ref.ID, err)
	}
	return nil
}

func (c *Client) keys(dst []string, ref *celery.Ref) []string {
	if ref.Parent != nil {
		dst = c.keys(dst, ref.Parent)
	}
	if !ref.Group {
		return append(dst, c.documents.Key(ref.ID))
	}
	dst = append(dst, c.documents.GroupKey(ref.ID, ""))
	for _, child := range ref.Children {
		dst = c.keys(dst, child)
	}
	return dst
}

func parse(text []byte, id string) (*Document, error) {
	if err := pyjson.Valid(text); err != nil {
		return nil, fmt.Errorf("read result document: %w", err)
	}
	d := Document{ID: id}
	if err := pyjson.Decode(text, &d, nil); err != nil {
		return nil, fmt.Errorf("read result document: %w", err)
	}
	return &d, nil
}

func (d *Document) failure() error {
	if d.State == celery.StateSuccess {
		return nil
	}
	e := &TaskError{ID: d.ID, State: d.State}
	if d.Traceback != nil {
		e.Traceback = *d.Traceback
	}
	var exc struct {
		Type   string     `json:"exc_type"`
		Module string     `json:"exc_module"`
		Args   pyjson.Raw `json:"exc_message"`
	}
	if err := pyjson.Decode(d.Result, &exc, nil); err != nil {
		e.Exception = celery.NewException("Exception", d.Result)
		return e
	}
	e.Exception = celery.Exception{Type: exc.Type, Module: exc.Module, Args: exc.Args}
	return e
}
