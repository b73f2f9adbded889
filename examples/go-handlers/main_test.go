package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs handlers on a Redis of its own until the test ends, and returns a client of it.
func serve(t *testing.T, mux *celery.Mux) *client.Client {
	t.Helper()
	url := celerytest.StartRedis(t).URL(0)
	env := map[string]string{"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url, "CELERY_WORKER_LOGLEVEL": "warning"}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "agensium.toml"), []byte("admin.listen = \"\"\ntasks.accept_content = [\"json\", \"msgpack\", \"yaml\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.Input{Dir: dir, Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- supervisor.Run(ctx, supervisor.Options{Handlers: mux, Loaded: loaded, Signals: make(chan os.Signal), Stderr: io.Discard})
	}()
	target, err := redisconn.Parse(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Broker: target})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestItsSettingsStartNoPython(t *testing.T) {
	loaded, err := config.Load(config.Input{Dir: ".", Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	if c := loaded.Config; c.Python.App != "" || c.Broker.URL != "redis://localhost:6379/0" || c.Results.URL != c.Broker.URL {
		t.Errorf("got %+v, %+v, %+v", c.Python, c.Broker, c.Results)
	}
}

func TestTasks(t *testing.T) {
	c := serve(t, tasks())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	cases := map[string]struct {
		task *celery.Signature
		want any
	}{
		"positional":      {celery.S("tasks.add", 2, 3), 5},
		"default":         {celery.S("tasks.add", 2), 3},
		"keyword":         {celery.S("tasks.add", 2).Kw("y", 40), 42},
		"chain":           {celery.Chain(celery.S("tasks.add", 1, 2), celery.S("tasks.add", 4)), 7},
		"chord":           {celery.Chord([]*celery.Signature{celery.S("tasks.add", 1, 2), celery.S("tasks.add", 3, 4)}, celery.S("tasks.total")), 10},
		"msgpack":         {celery.S("tasks.add", 2).Kw("y", 40).With(celery.Options{Serializer: "msgpack"}), 42},
		"yaml":            {celery.Chain(celery.S("tasks.add", 1, 2).With(celery.Options{Serializer: "yaml"}), celery.S("tasks.add", 4)), 7},
		"retry, then end": {celery.S("tasks.fetch", 2), "fetched at attempt 3"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			result, err := c.Apply(ctx, test.task)
			if err != nil {
				t.Fatal(err)
			}
			switch want := test.want.(type) {
			case int:
				var got int
				if err := result.Get(ctx, &got); err != nil || got != want {
					t.Errorf("got %d, %v; want %d", got, err, want)
				}
			case string:
				var got string
				if err := result.Get(ctx, &got); err != nil || got != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
			}
		})
	}
}

func TestFailuresNameWhatIsWrong(t *testing.T) {
	c := serve(t, tasks())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	cases := map[string]struct {
		task *celery.Signature
		want string
	}{
		"of the handler": {celery.S("tasks.resize", "a.txt"), `ValueError('not a PNG file', 'a.txt')`},
		"of an argument": {celery.S("tasks.add", "two"), `TypeError("add() argument 'x' must be int, not str")`},
		"of the name":    {celery.S("tasks.unheard_of"), `NotRegistered('tasks.unheard_of')`},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			result, err := c.Apply(ctx, test.task)
			if err != nil {
				t.Fatal(err)
			}
			var failure *client.TaskError
			if err := result.Get(ctx, nil); !errors.As(err, &failure) {
				t.Fatalf("got %v, want a failure", err)
			}
			if got := failure.Exception.Repr(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestAHandlerThatDoesNotEndFailsAtItsHardLimit(t *testing.T) {
	mux := tasks()
	told, end := make(chan error, 1), make(chan struct{})
	celery.Handle(mux, "tasks.stuck", func(ctx context.Context) {
		<-ctx.Done()
		told <- context.Cause(ctx)
		<-end
	}, celery.Limits(50*time.Millisecond, 100*time.Millisecond))
	c := serve(t, mux)
	defer close(end)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result, err := c.Send(ctx, "tasks.stuck")
	if err != nil {
		t.Fatal(err)
	}
	var failure *client.TaskError
	if err := result.Get(ctx, nil); !errors.As(err, &failure) || failure.Exception.Type != "TimeLimitExceeded" {
		t.Errorf("got %v, want TimeLimitExceeded", err)
	}
	if cause := <-told; !errors.Is(cause, celery.ErrSoftLimit) {
		t.Errorf("the handler was told %v, want its soft limit", cause)
	}
	next, err := c.Send(ctx, "tasks.add", 1, 2) // other slots go on
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Get(ctx, nil); err != nil {
		t.Error(err)
	}
}
