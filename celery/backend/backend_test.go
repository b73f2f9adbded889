package backend_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/pyjson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outbox keeps what is published.
type outbox struct {
	sent []celery.Message
	fail error
}

func (o *outbox) Publish(_ context.Context, messages []celery.Message) error {
	if o.fail != nil {
		return o.fail
	}
	o.sent = append(o.sent, messages...)
	return nil
}

func newBackend(t *testing.T) (*backend.Backend, *outbox, *celerytest.Redis) {
	t.Helper()
	r, out := celerytest.StartRedis(t), &outbox{}
	b, err := backend.New(backend.Options{Results: r.Client(0), Publisher: out, Sender: celery.NewSender(), Expires: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return b, out, r
}

// open makes the requests that a signature's messages ask for, and prepares its chords.
func open(t *testing.T, b *backend.Backend, sig *celery.Signature) []*celery.Request {
	t.Helper()
	plan, err := b.Sender.Apply(sig, nil, celery.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Chords) > 0 {
		if err := backend.Prepare(t.Context(), b.Results, &b.Documents, b.Expires, plan); err != nil {
			t.Fatal(err)
		}
	}
	var requests []*celery.Request
	for _, m := range plan.Messages {
		task, err := celery.Decode(m.Raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := celery.Body(m.Raw)
		if err != nil {
			t.Fatal(err)
		}
		r, err := celery.Open(task, body, m.Queue, nil)
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, r)
	}
	return requests
}

func chord(n int) *celery.Signature {
	header := make([]*celery.Signature, n)
	for i := range header {
		header[i] = celery.S("t.part", i)
	}
	return celery.Chord(header, celery.S("t.body"))
}

func TestAPartThatRanTwiceCountsOnce(t *testing.T) {
	b, out, r := newBackend(t)
	parts := open(t, b, chord(3))
	done := func(i int, value string) {
		t.Helper()
		if _, err := b.Done(t.Context(), backend.Record{Request: parts[i]}, pyjson.Raw(value)); err != nil {
			t.Fatal(err)
		}
	}
	done(0, "10")
	parts[0].Redelivered = true
	done(0, "11") // the same task, run again, with another result
	done(2, "30")
	if len(out.sent) != 0 {
		t.Fatal("the body was sent before its header was complete")
	}
	done(1, "20")
	parts[1].Redelivered = true
	done(1, "21")
	if len(out.sent) != 1 || !strings.Contains(string(out.sent[0].Raw), `"argsrepr": "([10, 20, 30],)"`) {
		t.Fatalf("sent %d bodies: %+v", len(out.sent), out.sent)
	}
	for _, key := range r.Client(0).Keys(t.Context(), "celery-taskset-*").Val() {
		if !strings.HasSuffix(key, ".c") {
			t.Errorf("left behind: %s", key)
		}
	}
}

// Python's sender writes the size of a chord before it sends the last part, and only then removes what is left of the last run.
func TestABodyThatCannotBeWrittenFailsOnce(t *testing.T) {
	b, out, _ := newBackend(t)
	body := celery.S("t.body").With(celery.Options{Serializer: "msgpack", LinkError: []*celery.Signature{celery.S("t.err")}})
	part := open(t, b, celery.Chord([]*celery.Signature{celery.S("t.part")}, body))[0]
	for range 2 {
		if _, err := b.Done(t.Context(), backend.Record{Request: part}, pyjson.Raw("99999999999999999999")); err != nil {
			t.Fatal(err)
		}
		part.Redelivered = true
	}
	if got := names(out.sent); len(got) != 1 || !strings.HasPrefix(got[0], "t.err(") {
		t.Errorf("sent %v, want its errback once", got)
	}
}

func TestAFrozenChordThatIsAppliedAgainRunsAgain(t *testing.T) {
	b, out, r := newBackend(t)
	parts := open(t, b, chord(2))
	done := func(i int) {
		t.Helper()
		if _, err := b.Done(t.Context(), backend.Record{Request: parts[i]}, pyjson.Raw("1")); err != nil {
			t.Fatal(err)
		}
	}
	done(0)
	done(1)
	done(0) // of the second run
	r.Client(0).Del(t.Context(), b.Documents.GroupKey(parts[0].Group, ".c"))
	r.Client(0).Set(t.Context(), b.Documents.GroupKey(parts[0].Group, ".s"), 2, 0)
	done(1)
	if len(out.sent) != 2 {
		t.Errorf("sent %d bodies", len(out.sent))
	}
}

func names(messages []celery.Message) (list []string) {
	for _, m := range messages {
		task, err := celery.Decode(m.Raw, nil)
		if err != nil {
			return []string{err.Error()}
		}
		list = append(list, task.Name+task.ArgsRepr)
	}
	return list
}

func TestAChordInAChordThatFailsFailsTheOuterOneAtOnce(t *testing.T) {
	cases := map[string]struct {
		first func(t *testing.T, ok, inner func()) // the order in which the parts end
	}{
		"the inner one last":  {func(_ *testing.T, ok, inner func()) { ok(); inner() }},
		"the inner one first": {func(_ *testing.T, ok, inner func()) { inner(); ok() }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b, out, r := newBackend(t)
			both, outerOnly := celery.SI("t.both"), celery.SI("t.outer_only")
			innerBody := celery.S("t.inner").With(celery.Options{TaskID: "inner", LinkError: []*celery.Signature{both}})
			outerBody := celery.S("t.outer").With(celery.Options{TaskID: "outer", LinkError: []*celery.Signature{both, outerOnly}})
			requests := open(t, b, celery.Chord([]*celery.Signature{celery.S("t.ok"), celery.Chord([]*celery.Signature{celery.S("t.fails")}, innerBody)}, outerBody))
			end := func(task string, exc *celery.Exception) func() {
				return func() {
					for _, q := range requests {
						if q.Name != task {
							continue
						}
						var err error
						if exc == nil {
							_, err = b.Done(t.Context(), backend.Record{Request: q}, pyjson.Raw("1"))
						} else {
							_, err = b.Failed(t.Context(), backend.Record{Request: q}, *exc, "")
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			boom := celery.NewException("ValueError", "boom")
			c.first(t, end("t.ok", nil), end("t.fails", &boom))
			// the errback of both hears of it once, as in Celery; that of the outer one alone, which Celery forgets, too
			if got := strings.Join(names(out.sent), " "); got != "t.both() t.outer_only()" {
				t.Errorf("sent %s", got)
			}
			for id, want := range map[string]string{"inner": `raised ValueError('boom')`, "outer": `Dependency inner raised ChordError(`} {
				doc := r.Client(0).Get(t.Context(), "celery-task-meta-"+id).Val()
				if !strings.Contains(doc, `"status": "FAILURE"`) || !strings.Contains(doc, want) {
					t.Errorf("%s: %s", id, doc)
				}
			}
		})
	}
}

func TestWhoDiedWhileSendingTheBodySendsItAgain(t *testing.T) {
	b, out, _ := newBackend(t)
	parts := open(t, b, chord(1))
	out.fail = fmt.Errorf("WRONGPASS invalid username-password pair")
	if o, err := b.Done(t.Context(), backend.Record{Request: parts[0]}, pyjson.Raw("1")); err == nil || o.State != celery.StateRejected || !o.Requeue {
		t.Fatalf("got %+v, %v", o, err)
	}
	out.fail = nil
	if _, err := b.Done(t.Context(), backend.Record{Request: parts[0]}, pyjson.Raw("1")); err != nil || len(out.sent) != 1 {
		t.Fatalf("sent %d bodies, %v", len(out.sent), err)
	}
}

func TestErrbacksThatAreHandlersAreNotSentThroughPython(t *testing.T) {
	b, out, _ := newBackend(t)
	b.Sender.Tasks = celery.NewMux()
	celery.Handle(b.Sender.Tasks, "t.handler", func(string) {})
	var called []string
	ctx := backend.WithErrbacks(t.Context(), func(_ context.Context, task *celery.Task, _ *celery.Verdict) error {
		called = append(called, task.Name)
		return nil
	})
	boom := celery.NewException("ValueError", "boom")
	for _, errbacks := range [][]*celery.Signature{{celery.S("t.handler")}, {celery.S("t.handler"), celery.S("t.python")}} {
		request := open(t, b, celery.S("t.fails").With(celery.Options{TaskID: "failed", LinkError: errbacks}))[0]
		if _, err := b.Failed(ctx, backend.Record{Request: request}, boom, ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(names(out.sent), " "); got != "t.handler('failed',)" || len(called) != 1 {
		t.Errorf("sent %s, Python called for %v", got, called)
	}
}

func TestRetriesKeepEverythingButTheirNumber(t *testing.T) {
	b, out, r := newBackend(t)
	sig := celery.S("t.x", 1).Kw("k", 2).With(celery.Options{Headers: map[string]any{"x-tenant": "acme"}, Link: []*celery.Signature{celery.S("t.next")}, Queue: "q", Priority: 3})
	request := open(t, b, sig)[0]
	exc := celery.NewException("KeyError", "not yet")
	o, err := b.Retried(t.Context(), backend.Record{Request: request, MaxRetries: 3}, &exc, time.Minute, "tb\n")
	if err != nil || o.State != celery.StateRetry || len(out.sent) != 1 {
		t.Fatalf("got %+v, %v", o, err)
	}
	again, err := celery.Decode(out.sent[0].Raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != request.ID || again.Retries != 1 || again.ParentID != request.ID || again.RoutingKey != "q" || again.Priority != 3 || time.Until(again.ETA) < 50*time.Second {
		t.Errorf("got %+v", again)
	}
	if text := string(out.sent[0].Raw); !strings.Contains(text, `"x-tenant": "acme"`) {
		t.Errorf("the header is gone: %s", text)
	}
	doc := r.Client(0).Get(t.Context(), "celery-task-meta-"+request.ID).Val()
	want := `{"status": "RETRY", "result": {"exc_type": "KeyError", "exc_message": ["not yet"], "exc_module": "builtins"}, "traceback": "tb\n", ` +
		`"children": [[["` + request.ID + `", null], null]], "date_done": null, "task_id": "` + request.ID + `"}`
	if doc != want {
		t.Errorf("got %s", doc)
	}
	o, err = b.Retried(t.Context(), backend.Record{Request: request, MaxRetries: 0}, nil, 0, "")
	if err != nil || o.State != celery.StateFailure || !strings.Contains(o.Exception, "MaxRetriesExceededError") {
		t.Errorf("got %+v, %v", o, err)
	}
}
