package client

import (
	"context"
	"errors"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// Valkey refuses to unsubscribe a connection that has no subscription.
func TestARefusalToUnsubscribeEndsNoWait(t *testing.T) {
	r := miniredis.RunT(t)
	refused := make(chan struct{}, 8)
	r.Server().SetPreHook(func(to *server.Peer, command string, _ ...string) bool {
		if command != "UNSUBSCRIBE" {
			return false
		}
		to.WriteError("NOSUB 'unsubscribe' command executed not in subscribed mode")
		refused <- struct{}{}
		return true
	})
	c, err := Open("redis://"+r.Addr(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make(chan error, 1)
	go func() { got <- c.Result("x").Get(t.Context(), nil) }()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // the second is read when the first has been answered
		if err := c.Result("y").Get(over, nil); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		<-refused
	}
	const key, document = "celery-task-meta-x", `{"status": "SUCCESS", "result": 1, "task_id": "x"}`
	if err := r.Set(key, document); err != nil {
		t.Fatal(err)
	}
	r.Publish(key, document)
	if err := <-got; err != nil {
		t.Error(err)
	}
}
