package backend

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/celery/redisconn"
)

// Publisher pushes messages to their queues, in order.
type Publisher interface {
	Publish(ctx context.Context, messages []celery.Message) error
}

// Options are the settings of a Backend. Results, Publisher and Sender are required.
type Options struct {
	Results        *redis.Client // of the result store; closed by its owner
	Publisher      Publisher
	Sender         *celery.Sender
	Documents      celery.Documents
	Expires        time.Duration // result_expires; 0: results stay
	ChordUnordered bool          // result_chord_ordered = False
	Discard        bool          // there is no result store: results are not kept
	ErrorsAnyway   bool          // task_store_errors_even_if_ignored
	Log            hclog.Logger
}

// Errbacks calls the errbacks in a task's message, as [celery.Verdict.Errbacks] says.
type Errbacks func(ctx context.Context, t *celery.Task, v *celery.Verdict) error

type errbacksKey struct{}

// WithErrbacks returns a context under which errbacks are called by call, which can run those that take (request, exc,
// traceback) because it is Python. Without one all are sent as tasks that take the id, as Celery does with errbacks that a worker
// does not have.
func WithErrbacks(ctx context.Context, call Errbacks) context.Context {
	return context.WithValue(ctx, errbacksKey{}, call)
}

// Backend records outcomes. Its methods may be called by any number of executors at once.
type Backend struct {
	Options
}

// New returns a backend, or says which option is missing.
func New(o Options) (*Backend, error) {
	if o.Results == nil || o.Publisher == nil || o.Sender == nil {
		return nil, errors.New("result backend: Results, Publisher and Sender are required")
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return &Backend{o}, nil
}

// Record is what the executor knows about a task's end.
type Record struct {
	Request    *celery.Request
	Ignore     bool          // store no result
	MaxRetries int           // negative: without end
	RetryDelay time.Duration // for retries that do not say
	Runtime    time.Duration
	Repr       bool // somebody wants to see the repr of the value
}

// Started stores STARTED.
func (b *Backend) Started(ctx context.Context, r *celery.Request) error {
	if b.Discard {
		return nil
	}
	return b.store(ctx, b.Documents.Started(r))
}

// Done records that the task returned value. A follow-up that has no message fails the task; an error is ours: Redis
// could not be reached until ctx ended, and nothing is known to be stored.
func (b *Backend) Done(ctx context.Context, rec Record, value pyjson.Raw) (celery.Outcome, error) {
	r := rec.Request
	if len(r.Callbacks()) > 0 || len(r.Chain()) > 0 {
		plans, err := b.Sender.FollowUps(r, value)
		if err != nil {
			return b.Failed(ctx, rec, celery.NewException("kombu.exceptions.EncodeError", err.Error()), err.Error()+"\n")
		}
		for _, p := range plans {
			if err := b.perform(ctx, p); err != nil {
				return lost(err)
			}
		}
	}
	out := celery.Outcome{State: celery.StateSuccess, Runtime: rec.Runtime}
	if rec.Repr {
		out.ReturnRepr = pyjson.Repr(value)
	}
	if !rec.Ignore && !b.Discard {
		out.Results = []celery.Result{b.Documents.Of(r, celery.StateSuccess, value, "")}
	}
	if r.Chord() == nil {
		return out, nil
	}
	if err := b.store(ctx, out.Results...); err != nil {
		return lost(err)
	}
	out.Results = nil
	if err := b.part(ctx, partOf(r), celery.StateSuccess, value, r); err != nil {
		return lost(err)
	}
	return out, nil
}

// Failed records that the task failed with exc. traceback is what results and events show; it may be empty.
func (b *Backend) Failed(ctx context.Context, rec Record, exc celery.Exception, traceback string) (celery.Outcome, error) {
	return b.fail(ctx, rec, exc, traceback, celery.StateFailure, true)
}

func (b *Backend) fail(ctx context.Context, rec Record, exc celery.Exception, traceback string, state celery.State, callBack bool) (celery.Outcome, error) {
	r := rec.Request
	ignore := b.Discard || rec.Ignore && !(b.ErrorsAnyway && state == celery.StateFailure)
	out := celery.Outcome{State: state, Runtime: rec.Runtime, Exception: exc.Repr(), Traceback: traceback}
	value := exc.AppendJSON(nil)
	var docs []celery.Result
	if !ignore {
		docs = append(docs, b.Documents.Of(r, state, value, traceback))
	}
	var chords []chordPart
	if r.Chord() != nil {
		chords = append(chords, partOf(r))
	}
	if state == celery.StateFailure {
		for _, rest := range celery.Remains(r.Chain()) {
			if !ignore {
				docs = append(docs, b.Documents.Unasked(rest.ID, rest.Group, rest.Parent, nil, state, value, traceback))
			}
			if rest.Chord != nil {
				chords = append(chords, partOfRest(rest))
			}
		}
	}
	callBack = callBack && len(r.Errbacks()) > 0
	if len(chords) == 0 && !callBack {
		out.Results = docs
		return out, nil
	}
	if err := b.store(ctx, docs...); err != nil {
		return lost(err)
	}
	for _, p := range chords {
		if err := b.part(ctx, p, state, value, r); err != nil {
			return lost(err)
		}
	}
	if callBack {
		sig, err := r.Signature()
		if err != nil {
			sig = &celery.Signature{Task: r.Name} // of a body that cannot be read
		}
		if err := b.errbacks(ctx, r.Errbacks(), sig, r.ID, r.Root(), r, exc, traceback); err != nil {
			return lost(err)
		}
	}
	return out, nil
}

// Retried sends the task again and records RETRY, or FAILURE if its retries are used up. exc is why, or nil.
func (b *Backend) Retried(ctx context.Context, rec Record, exc *celery.Exception, after time.Duration, traceback string) (celery.Outcome, error) {
	r := rec.Request
	if after < 0 {
		after = rec.RetryDelay
	}
	plan, err := b.Sender.Retry(r, after, rec.MaxRetries)
	if errors.Is(err, celery.ErrRetriesExhausted) && exc == nil {
		e := celery.NewException("celery.exceptions.MaxRetriesExceededError",
			fmt.Sprintf("Can't retry %s[%s] args:%s kwargs:%s", r.Name, r.ID, pyjson.Tuple(r.Args), pyjson.Repr(r.Kwargs)))
		exc = &e
	}
	if err != nil {
		if exc == nil {
			e := celery.ExceptionOf(err)
			exc = &e
		}
		return b.Failed(ctx, rec, *exc, traceback)
	}
	out := celery.Outcome{State: celery.StateRetry, Runtime: rec.Runtime, Traceback: traceback}
	value := pyjson.Raw("null")
	if exc != nil {
		value, out.Exception = exc.AppendJSON(nil), exc.Repr()
	}
	if !rec.Ignore && !b.Discard { // before the message: a retry without delay may end before we do
		if err := b.store(ctx, b.Documents.Of(r, celery.StateRetry, value, traceback)); err != nil {
			return lost(err)
		}
	}
	if err := b.perform(ctx, plan); err != nil {
		return lost(err)
	}
	return out, nil
}

// Verdict records what the supervisor decided, as mark_as_failure and mark_as_revoked do.
func (b *Backend) Verdict(ctx context.Context, rec Record, v *celery.Verdict) (celery.Outcome, error) {
	class := v.Type
	if v.Module != "" {
		class = v.Module + "." + v.Type
	}
	return b.fail(ctx, rec, celery.NewException(class, v.Args...), "", v.State, v.CallBack)
}

// errbacks calls the errbacks of the task `of`: where there is Python all of them there, unless Go handlers are all there are, else
// together as a group.
func (b *Backend) errbacks(ctx context.Context, list []*celery.Signature, of *celery.Signature, id, root string, r *celery.Request, exc celery.Exception, traceback string) error {
	if call, ok := ctx.Value(errbacksKey{}).(Errbacks); ok && slices.ContainsFunc(list, func(s *celery.Signature) bool { return b.Sender.Tasks.Lookup(s.Task) == nil }) {
		err := b.inPython(ctx, call, list, of, id, root, exc, traceback)
		if err == nil {
			return nil
		}
		b.Log.Error("errbacks not called by Python", "id", id, "error", err, "next", "send them as tasks")
	}
	plan, err := b.Sender.ErrbackPlan(list, id, root, r)
	if err != nil {
		b.Log.Error("errbacks not sent", "id", id, "error", err) // a signature that cannot be written: sending it again would not help
		return nil
	}
	return b.perform(ctx, plan)
}

func (b *Backend) inPython(ctx context.Context, call Errbacks, list []*celery.Signature, of *celery.Signature, id, root string, exc celery.Exception, traceback string) error {
	task, err := b.Sender.ErrbackJob(list, of, id, root)
	if err != nil {
		return err
	}
	parts, err := pyjson.Elements(nil, exc.Args)
	if err != nil {
		return err
	}
	args := make([]any, len(parts))
	for i, p := range parts {
		args[i] = p
	}
	return call(ctx, task, &celery.Verdict{State: celery.StateFailure, Type: exc.Type, Module: exc.Module, Args: args, CallBack: true, Errbacks: true, Traceback: traceback})
}

// perform carries out a plan: sizes of chords first, then the messages.
func (b *Backend) perform(ctx context.Context, p *celery.Plan) error {
	if len(p.Chords)+len(p.Groups) > 0 {
		err := b.persist(ctx, "store size of chord", func() error { return Prepare(ctx, b.Results, &b.Documents, b.Expires, p) })
		if err != nil {
			return err
		}
	}
	return b.persist(ctx, "publish", func() error { return b.Publisher.Publish(ctx, p.Messages) })
}

// Prepare writes the chord sizes and saved groups of a plan, in one transaction. The client uses it too.
func Prepare(ctx context.Context, results redis.Cmdable, d *celery.Documents, expires time.Duration, p *celery.Plan) error {
	_, err := results.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		for _, c := range p.Chords {
			tx.Del(ctx, d.GroupKey(c.Group, ".c")) // Celery 5.7 keeps who sends the body there
			tx.Set(ctx, d.GroupKey(c.Group, ".s"), c.Size, expires)
		}
		for _, g := range p.Groups {
			tx.Set(ctx, d.GroupKey(g.Group, ""), g.Document(), expires)
		}
		return nil
	})
	return err
}

// store writes documents and tells who waits for them.
func (b *Backend) store(ctx context.Context, docs ...celery.Result) error {
	if len(docs) == 0 {
		return nil
	}
	return b.persist(ctx, "store result", func() error {
		_, err := b.Results.TxPipelined(ctx, func(tx redis.Pipeliner) error {
			for _, d := range docs {
				tx.Set(ctx, d.Key, d.Document, b.Expires)
				tx.Publish(ctx, d.Key, d.Document)
			}
			return nil
		})
		return err
	})
}

// persist tries until it is done, Redis refuses for good, or ctx ends.
func (b *Backend) persist(ctx context.Context, what string, do func() error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := do()
		if err == nil {
			return nil
		}
		condition := redisconn.Classify(err)
		if !condition.Retryable || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		pause := wait/2 + rand.N(wait/2)
		b.Log.Warn("result store does not answer", "what", what, "reason", condition.Name, "error", err, "next", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// lost is the outcome of a task whose end could not be recorded: its message goes back.
func lost(err error) (celery.Outcome, error) {
	return celery.Outcome{State: celery.StateRejected, Requeue: true, Exception: err.Error()}, err
}
