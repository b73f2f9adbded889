package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
)

// Get waits until the task has ended and reads its value into target, a pointer; nil drops the value. It waits for
// the publication of the result and does not poll. For a group the values of its tasks are read as a list. A task that
// failed gives a *TaskError.
func (r *Result) Get(ctx context.Context, target any) error {
	value, err := r.value(ctx)
	if err != nil || target == nil {
		return err
	}
	if err := pyjson.Decode(value, target, nil); err != nil {
		return fmt.Errorf("read result of task %s: %w", r.Ref.ID, err)
	}
	return nil
}

func (r *Result) value(ctx context.Context) (pyjson.Raw, error) {
	if !r.Ref.Group {
		d, err := r.Wait(ctx)
		if err != nil {
			return nil, err
		}
		return d.Result, d.failure()
	}
	list := []byte{'['}
	for i, c := range r.Children() {
		v, err := c.value(ctx)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			list = append(list, ", "...)
		}
		list = append(list, v...)
	}
	return append(list, ']'), nil
}

// Wait waits until the task has ended and returns its document.
func (r *Result) Wait(ctx context.Context) (*Document, error) {
	text, err := r.client.waiters.wait(ctx, r.client.documents.Key(r.Ref.ID), func(text []byte) bool {
		d, err := parse(text)
		return err != nil || d.Ready()
	})
	if err != nil {
		return nil, fmt.Errorf("wait for task %s: %w", r.Ref.ID, err)
	}
	return parse(text)
}

// Document reads what is stored now.
func (r *Result) Document(ctx context.Context) (*Document, error) {
	text, err := r.client.results.Get(ctx, r.client.documents.Key(r.Ref.ID)).Bytes()
	if errors.Is(err, redis.Nil) {
		return &Document{ID: r.Ref.ID, State: "PENDING", Result: pyjson.Raw("null")}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read result of task %s: %w", r.Ref.ID, err)
	}
	return parse(text)
}

// Forget removes the result; for a group, those of its tasks.
func (r *Result) Forget(ctx context.Context) error {
	keys := r.client.keys(nil, r.Ref)
	if err := r.client.results.Del(ctx, keys...).Err(); err != nil {
		return fmt.Errorf("forget result of task %s: %w", r.Ref.ID, err)
	}
	return nil
}

func (c *Client) keys(dst []string, ref *celery.Ref) []string {
	if !ref.Group {
		return append(dst, c.documents.Key(ref.ID))
	}
	dst = append(dst, c.documents.GroupKey(ref.ID, ""))
	for _, child := range ref.Children {
		dst = c.keys(dst, child)
	}
	return dst
}

func parse(text []byte) (*Document, error) {
	if err := pyjson.Valid(text); err != nil {
		return nil, fmt.Errorf("read result document: %w", err)
	}
	var d Document
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
