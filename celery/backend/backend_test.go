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
	done(0, "11") // the same task, run again, with another result
	done(2, "30")
	if len(out.sent) != 0 {
		t.Fatal("the body was sent before its header was complete")
	}
	done(1, "20")
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
