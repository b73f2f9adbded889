package mixed_test

import (
	"context"
	"os"
	"testing"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/handler"
	"github.com/agensium/agensium/pool/mixed"
)

// warm stands for a Python child: it is a process, whatever it runs.
type warm struct{ pool.Executor }

func (warm) PID() int                                            { return 4121 }
func (warm) Done() <-chan struct{}                               { return nil }
func (warm) Close(context.Context) error                         { return nil }
func (w warm) Start(context.Context, int) (pool.Executor, error) { return w, nil }

func TestATaskIsInTheProcessThatRunsIt(t *testing.T) {
	handlers, err := handler.New(handler.Options{Mux: goTasks(), Recorder: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	f := &mixed.Factory{Routes: []mixed.Route{{Name: "go", Knows: func(task string) bool { return handlers.Mux.Lookup(task) != nil }, Factory: handlers}}, Default: warm{}}
	e, err := f.Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(t.Context())
	for task, want := range map[string]int{"c.add": os.Getpid(), "py.only": 4121} {
		if pid := pool.PIDOf(e, &celery.Task{Name: task}); pid != want {
			t.Errorf("%s runs in %d, want %d", task, pid, want)
		}
	}
}

// nobody records nothing: no task runs.
type nobody struct{ handler.Recorder }
