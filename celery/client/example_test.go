package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/client"
)

func Example() {
	c, err := client.Open("redis://localhost:6379/0", "redis://localhost:6379/1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	result, err := c.Send(ctx, "tasks.add", 2, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	var sum int
	var failure *client.TaskError
	switch err := result.Get(ctx, &sum); {
	case errors.As(err, &failure):
		fmt.Println(failure.Exception.Type, failure.Traceback)
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println(sum)
	}
}

// Signatures are made with celery.S, and with Kw and With for keywords and the options of apply_async.
func ExampleClient_Apply() {
	c, err := client.Open("redis://localhost:6379/0", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	report := celery.Chord(
		[]*celery.Signature{
			celery.S("docs.words", "one two"),
			celery.S("docs.size").Kw("text", "one two").With(celery.Options{Queue: "slow", Expires: time.Now().Add(time.Hour)}),
		},
		celery.S("docs.report"),
	)
	if result, err := c.Apply(context.Background(), report); err == nil {
		fmt.Println(result.ID())
	}
}
