package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// storer writes results that must be stored before the claim is touched: on another server, after Redis refused to store one, or when the
// stored document has to be looked at first. Everything else goes in the engine's pipeline.
type storer struct {
	b       *Broker
	client  *redis.Client
	batch   *batch
	cond    *condition
	careful atomic.Bool
	wake    chan struct{}

	mu     sync.Mutex
	queue  []*work
	atWork int
	closed bool
}

func newStorer(b *Broker) *storer {
	s := &storer{b: b, client: b.aux, cond: &b.tally.queues, wake: make(chan struct{}, 1)}
	if b.store != nil {
		s.client, s.cond = b.store, &b.tally.results
	}
	s.batch = newBatch(s.client, &b.tally.commands, b.opt.ResultExpires)
	return s
}

// first tells whether the results of a settlement have to go this way.
func (s *storer) first(f *Settlement) bool {
	return s.b.store != nil || f.CheckSuccess || s.careful.Load()
}

// refused is called when Redis refused a result in a pipeline that also held the acknowledgement (OOM refuses SET and not DEL): from
// now on results go first, until one is taken again.
func (s *storer) refused() { s.careful.Store(true) }

func (s *storer) put(w *work) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.queue = append(s.queue, w)
	}
	s.mu.Unlock()
	if closed {
		w.answer(nil, ErrClosed)
		return
	}
	poke(s.wake)
}

func (s *storer) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) + s.atWork
}

func (s *storer) run(life context.Context) {
	var retry backoff
	var todo []*work
	for {
		if len(todo) == 0 {
			select {
			case <-life.Done():
				return
			case <-s.wake:
			}
		}
		s.mu.Lock()
		todo = append(todo, s.queue...)
		clear(s.queue)
		s.queue = s.queue[:0]
		s.atWork = len(todo)
		s.mu.Unlock()

		left, err := s.store(life, todo)
		clear(todo[len(left):])
		todo = left
		s.mu.Lock()
		s.atWork = len(todo)
		s.mu.Unlock()
		s.b.inbox.poke()
		if err == nil {
			retry.reset()
			s.careful.Store(false)
			if s.b.store != nil {
				if d := s.cond.clear(); d > 0 {
					s.b.log.Info("result store is usable again", "took", d.Round(time.Millisecond))
				}
			}
			continue
		}
		d := retry.next()
		if c, changed := s.cond.set(err); changed {
			s.b.log.Warn("result store is not usable", "reason", c.Name, "error", c.Error, "hint", c.Hint, "next", "retry in "+d.Round(time.Millisecond).String())
		}
		s.b.pause(life, d)
		if life.Err() != nil {
			for _, w := range todo {
				w.answer(nil, ErrClosed)
			}
			return
		}
	}
}

// store writes the results of all and hands each that is stored back to the engine. It returns those that are not.
func (s *storer) store(life context.Context, all []*work) ([]*work, error) {
	defer s.batch.reset()
	skip, err := s.successes(life, all)
	if err != nil {
		return all, err
	}
	s.batch.reset()
	for _, w := range all {
		for _, r := range w.finished.Settlement.Results {
			if skip[r.Key] {
				continue
			}
			w.sets = append(w.sets, s.batch.set(r.Key, r.Document))
			w.pubs = append(w.pubs, s.batch.publish(r.Key, r.Document))
		}
	}
	if !s.batch.empty() {
		err = s.batch.exec(life)
	}
	left := all[:0]
	for _, w := range all {
		stored, refusal := w.storedNow()
		clear(w.sets)
		clear(w.pubs)
		w.sets, w.pubs = w.sets[:0], w.pubs[:0]
		if !stored {
			if err == nil {
				err = refusal
			}
			left = append(left, w)
			continue
		}
		w.stored = true
		AtStored.Pass()
		if !s.b.inbox.hand(w) {
			w.answer(nil, ErrClosed)
		}
	}
	return left, err
}

// successes reads the documents of those that must not overwrite a SUCCESS and returns the keys that hold one.
func (s *storer) successes(life context.Context, all []*work) (map[string]bool, error) {
	var gets map[string]*redis.Cmd
	for _, w := range all {
		if !w.finished.Settlement.CheckSuccess {
			continue
		}
		for _, r := range w.finished.Settlement.Results {
			if gets == nil {
				gets = map[string]*redis.Cmd{}
			}
			gets[r.Key] = s.batch.do(purposeResult, "GET", r.Key)
		}
	}
	if gets == nil {
		return nil, nil
	}
	if err := s.batch.exec(life); err != nil {
		return nil, err
	}
	skip := map[string]bool{}
	for key, cmd := range gets {
		if err := refused(cmd.Err()); err != nil {
			return nil, err
		}
		doc, _ := cmd.Text()
		skip[key] = isSuccess([]byte(doc))
	}
	return skip, nil
}

// isSuccess tells whether a stored document says SUCCESS. Celery writes the status first; a document that holds NaN is no JSON to us.
func isSuccess(doc []byte) bool {
	if bytes.HasPrefix(doc, []byte(`{"status": "SUCCESS"`)) {
		return true
	}
	var d struct {
		Status string `json:"status"`
	}
	return json.Unmarshal(doc, &d) == nil && d.Status == "SUCCESS"
}

func (s *storer) seal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, w := range s.queue {
		w.answer(nil, ErrClosed)
	}
	s.queue = nil
}
