package mixed_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
)

// goClient sends workflows from Go to Python, Go and a command.
func (w *world) goClient(t *testing.T) {
	on := func(queue string, s *celery.Signature) *celery.Signature { return s.With(celery.Options{Queue: queue}) }
	add := func(queue string, args ...any) *celery.Signature { return on(queue, celery.S("c.add", args...)) }
	sum := func(queue string) *celery.Signature { return on(queue, celery.S("c.tsum")) }
	cases := map[string]struct {
		sig  *celery.Signature
		want string
	}{
		"task":               {add("py", 1, 2), "3"},
		"chain":              {celery.Chain(add("py", 1, 1), add("go", 10), add("cmd", 100), add("py", 1000)), "1112"},
		"group":              {celery.Group(add("py", 1, 1), add("go", 2, 2), add("cmd", 3, 3)), "[2,4,6]"},
		"chord":              {celery.Chord([]*celery.Signature{add("py", 1, 1), add("go", 2, 2), add("cmd", 3, 3)}, sum("py")), "12"},
		"group then task":    {celery.Chain(celery.Group(add("py", 1, 1), add("go", 2, 2)), sum("go"), add("py", 100)), "106"},
		"two chords in line": {celery.Chain(add("py", 1, 1), celery.Group(add("py", 1), add("go", 2)), sum("py"), celery.Group(add("go", 1), add("py", 2)), sum("go")), "17"},
		"chord of chains":    {celery.Chord([]*celery.Signature{celery.Chain(add("py", 1, 1), add("go", 2)), add("py", 5, 5)}, sum("go")), "14"},
		"chord of chords":    {celery.Chord([]*celery.Signature{celery.Chord([]*celery.Signature{add("py", 1, 1), add("go", 1, 1)}, sum("py")), add("go", 5, 5)}, sum("go")), "14"},
		"chain to a group":   {celery.Chain(add("py", 1, 1), celery.Group(add("go", 10), add("py", 20))), "[12,22]"},
		"empty chord":        {celery.Chord(nil, sum("py")), "0"},
	}
	broker, err := redisconn.Parse(w.redis.URL(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	results, err := redisconn.Parse(w.redis.URL(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Broker: broker, Results: results})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			r, err := c.Apply(t.Context(), want.sig)
			if err != nil {
				t.Fatal(err)
			}
			var got json.RawMessage
			ctx, cancel := context.WithTimeout(t.Context(), celerytest.Backstop)
			defer cancel()
			if err := r.Get(ctx, &got); err != nil {
				t.Fatal(err)
			}
			var compact any
			_ = json.Unmarshal(got, &compact)
			if text, _ := json.Marshal(compact); string(text) != want.want {
				t.Errorf("got %s, want %s", text, want.want)
			}
		})
	}
	t.Run("a chord's headers are its body's", func(t *testing.T) {
		body := celery.SI("c.request").With(celery.Options{Queue: "go"})
		sig := celery.Chord([]*celery.Signature{add("go", 1, 1), add("py", 2, 2)}, body).With(celery.Options{Headers: map[string]any{"x-tenant": "acme"}})
		r, err := c.Apply(t.Context(), sig)
		if err != nil {
			t.Fatal(err)
		}
		var got requestInfo
		if err := r.Get(t.Context(), &got); err != nil || got.Tenant != "acme" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("a task that wants no result", func(t *testing.T) {
		quiet, err := c.Apply(t.Context(), on("py", celery.S("c.noresult", 1)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Apply(t.Context(), add("py", 1, 1)) // when this has ended it has, too: the worker has one process
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Get(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if d, err := quiet.Document(t.Context()); err != nil || d.State != "PENDING" {
			t.Errorf("got %+v, %v", d, err)
		}
	})
}
