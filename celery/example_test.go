package celery_test

import (
	"context"
	"errors"
	"time"

	"github.com/agensium/agensium/celery"
)

func ExampleHandle() {
	mux := celery.NewMux()
	celery.Handle(mux, "tasks.add", func(ctx context.Context, x, y int) (int, error) { return x + y, nil })

	// Names for those who send keywords, with a default; limits and retries as a Celery task has them.
	fetch := func(ctx context.Context, url string, attempts int) (string, error) {
		if celery.RequestFrom(ctx).Retries < attempts {
			return "", celery.Retry(errors.New("the other side is busy"), time.Second)
		}
		return url, nil
	}
	celery.Handle(mux, "tasks.fetch", fetch, celery.Params("url", "attempts=3"), celery.MaxRetries(5), celery.Limits(10*time.Second, time.Minute))

	// A struct stands for the parameters: each field is one, by position or by its name.
	type image struct {
		Path  string `json:"path"`
		Width int    `json:"width" default:"640"`
	}
	celery.Handle(mux, "tasks.resize", func(in image) error {
		if in.Width > 4096 {
			return celery.Raise("ValueError", "too wide", in.Width)
		}
		return nil
	}, celery.AcksLate())
}
