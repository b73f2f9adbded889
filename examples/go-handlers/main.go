// Command go-handlers serves tasks that are Go functions, and nothing else: no Python is started. Any Celery client sends them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/supervisor"
)

func main() {
	if err := supervisor.Run(context.Background(), supervisor.Options{Handlers: tasks()}); err != nil {
		fmt.Fprintln(os.Stderr, "go-handlers:", err)
		os.Exit(1)
	}
}

func tasks() *celery.Mux {
	mux := celery.NewMux()
	celery.Handle(mux, "tasks.add", func(x, y int) int { return x + y }, celery.Params("x", "y=1"))
	celery.Handle(mux, "tasks.total", func(parts []int) (sum int) {
		for _, p := range parts {
			sum += p
		}
		return sum
	})
	celery.Handle(mux, "tasks.resize", resize, celery.AcksLate(), celery.Limits(10*time.Second, time.Minute))
	celery.Handle(mux, "tasks.fetch", fetch, celery.MaxRetries(5))
	return mux
}

// Image is what tasks.resize takes: each field is an argument of the task, by position or by its name.
type Image struct {
	Path  string `json:"path"`
	Width int    `json:"width" default:"640"`
}

func resize(ctx context.Context, in Image) (map[string]any, error) {
	if !strings.HasSuffix(in.Path, ".png") {
		return nil, celery.Raise("ValueError", "not a PNG file", in.Path) // what Python's AsyncResult.get raises
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // the soft time limit
	}
	return map[string]any{"path": in.Path, "width": in.Width, "at": time.Now()}, nil
}

var errBusy = errors.New("the other side is busy")

func fetch(ctx context.Context, refusals int) (string, error) {
	request := celery.RequestFrom(ctx)
	if request.Retries < refusals {
		return "", celery.Retry(errBusy, 100*time.Millisecond)
	}
	return fmt.Sprintf("fetched at attempt %d", request.Retries+1), nil
}
