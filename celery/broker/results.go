package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
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
	return s.b.store != nil || f.CheckSuccess || f.CheckEnd || s.careful.Load()
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
	stays, err := s.lookUp(life, all)
	if err != nil {
		return all, err
	}
	s.batch.reset()
	for _, w := range all {
		results, put := w.finished.Settlement.Results, s.batch.set
		switch {
		case len(w.ousted) > 0:
			results = w.ousted
		case w.finished.looksFirst():
			put = s.batch.replace
		}
		for _, r := range results {
			if stays[r.Key] {
				continue
			}
			w.sets = append(w.sets, put(r.Key, r.Document))
			w.pubs = append(w.pubs, s.batch.publish(r.Key, r.Document))
		}
	}
	if !s.batch.empty() {
		err = s.batch.exec(life)
	}
	left := all[:0]
	for _, w := range all {
		stored, refusal := w.storedNow()
		if stored {
			stored = !w.oust()
		} else if err == nil {
			err = refusal
		}
		clear(w.sets)
		clear(w.pubs)
		w.sets, w.pubs = w.sets[:0], w.pubs[:0]
		if !stored {
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

// looksFirst tells whether something stored may have to stay.
func (f *Finished) looksFirst() bool { return f.Settlement.CheckSuccess || f.Settlement.CheckEnd }

// lookUp reads the documents of those that may have to leave one as it is, and returns the keys of those that stay.
func (s *storer) lookUp(life context.Context, all []*work) (stays map[string]bool, err error) {
	gets := map[*redis.Cmd]*Finished{}
	for _, w := range all {
		if f := &w.finished; f.looksFirst() && len(w.ousted) == 0 {
			for _, r := range f.Settlement.Results {
				gets[s.batch.do(purposeResult, "GET", r.Key)] = f
			}
		}
	}
	if len(gets) == 0 {
		return nil, nil
	}
	if err := s.batch.exec(life); err != nil {
		return nil, err
	}
	stays = map[string]bool{}
	for cmd, f := range gets {
		if err := refused(cmd.Err()); err != nil {
			return nil, err
		}
		doc, _ := cmd.Text()
		stays[cmd.Args()[1].(string)] = f.stays([]byte(doc))
	}
	return stays, nil
}

// oust notes what was written by somebody else between the look and the write, though it is to stay: it is to be written once more. Celery
// looks and writes in two steps, too, but it is never as fast as the next attempt of a task that a free slot of ours takes.
func (w *work) oust() bool {
	if !w.finished.looksFirst() || len(w.ousted) > 0 {
		return false
	}
	for _, c := range w.sets {
		if doc := []byte(c.Val()); w.finished.stays(doc) {
			w.ousted = append(w.ousted, celery.Result{Key: c.Args()[1].(string), Document: doc})
		}
	}
	return len(w.ousted) > 0
}

// stays tells whether a stored document is not to be overwritten. Celery writes the status first; a document that holds NaN is no JSON to us.
func (f *Finished) stays(doc []byte) bool {
	if bytes.HasPrefix(doc, []byte(`{"status": "SUCCESS"`)) {
		return true
	}
	var d struct {
		Status celery.State `json:"status"`
		Done   string       `json:"date_done"`
	}
	switch json.Unmarshal(doc, &d); d.Status {
	case celery.StateSuccess:
		return true
	case celery.StateFailure, celery.StateRevoked:
		return f.Settlement.CheckEnd && f.Delivery != nil && dateDone(d.Done).After(f.Delivery.Claimed)
	}
	return false
}

// dateDone reads a date as Celery writes it: with its offset, or in UTC. One that cannot be read is long ago.
func dateDone(text string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
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
