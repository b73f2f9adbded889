package client

import (
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestTheConnectionGoesWhenNobodyWaitsAndComesBack(t *testing.T) {
	r := celerytest.StartRedis(t)
	proxy := celerytest.StartProxy(t, r.Addr())
	c, err := Open(r.URL(0), proxy.URL(0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.waiters.quiet = time.Millisecond
	document := `{"status": "SUCCESS", "result": 1, "traceback": null, "children": [], "date_done": null, "task_id": "x"}`
	if err := r.Client(0).Set(t.Context(), "celery-task-meta-x", document, 0).Err(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.Result("x").Get(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		celerytest.Eventually(t, "only the connection that reads is left", func() bool { return proxy.Connections() == 1 })
	}
}
