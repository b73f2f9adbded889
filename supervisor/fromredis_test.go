package supervisor

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/supervisor/reload"
)

// Without remote control nobody tells of settings in Redis: a reload looks for them, and is not answered by a reading without them.
func TestAReloadLooksInRedisFirst(t *testing.T) {
	var out safeBuffer
	r := celerytest.StartRedis(t)
	s := node(t, loaded(t, "[admin]\nlisten = \"\"", nil), &out)
	if err := r.Client(0).LPush(t.Context(), "agensium:settings", `{"version":7,"by":"me@here","text":"[pool]\nconcurrency = 3\n"}`).Err(); err != nil {
		t.Fatal(err)
	}
	read := make(chan reload.Result, 8)
	s.watcher = reload.New(s.loaded.Load().Input(), s.loaded.Load(), func(r reload.Result) { read <- r }, s.log)
	s.stored.Store(s.newFromRedis(func() *redis.Client { return r.Client(0) }, ""))
	s.reload("signal SIGHUP")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.stored.Load().run(ctx)
	go s.watcher.Run(ctx)
	for r := range read {
		if r.Asked == 0 {
			continue
		}
		if r.Err != nil || storedVersion(r.Loaded) != 7 {
			t.Errorf("answered by %+v", r)
		}
		return
	}
}
