package main

import (
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// config runs `agensium config` to its end.
func (g *gate) config(args ...string) *celerytest.Process {
	g.t.Helper()
	p := g.start(append([]string{"-A", "gated", "config"}, args...)...)
	if status := p.Wait(); status != exitOK {
		g.t.Fatalf("config %q: status %d", args, status)
	}
	return p
}

func TestNodesTakeSettingsFromRedis(t *testing.T) {
	g := newGate(t, "[pool]\nconcurrency = 1\n")
	g.printed(g.worker, " ready.")
	g.write("bad.toml", "[pool]\nconcurency = 2\n")
	bad := g.start("-A", "gated", "config", "push", "bad.toml")
	if status := bad.Wait(); status != exitUsage || !strings.Contains(bad.Output(), "agensium: bad.toml:2: pool.concurency: is unknown") {
		t.Errorf("a bad file: status %d: %s", status, bad.Output())
	}
	if out := g.config("history").Output(); !strings.Contains(out, "there are no settings in Redis") {
		t.Errorf("history of nothing: %s", out)
	}
	g.write("pushed.toml", "[pool]\nconcurrency = 2\n[scaling]\nmin = 2\n[python.environment]\nGREETING = 'pushed'\n")
	g.config("push", "pushed.toml")
	g.printed(g.worker, `key=pool.concurrency old=1 new=2 effect=live origin="redis version 1"`)
	g.printed(g.worker, "old generation ended")

	later := g.start("worker", "-A", "gated", "-n", "later@%h") // one that starts afterwards has them at once
	g.printed(later, "settings in Redis are part of those in force: version=1")
	g.printed(later, " ready.")
	g.printed(later, "2, fixed  (redis version 1)")
	cleanEnd(t, g.worker)
	g.send("celery", "a", "b")
	g.noted("began", 2)
	g.finish("a", "b")
	if ended := g.noted("ended", 2); !strings.HasSuffix(ended[0], " pushed") || !strings.HasSuffix(ended[1], " pushed") {
		t.Errorf("ended: %q", ended)
	}

	g.config("rollback", "0")
	g.printed(later, `key=pool.concurrency old=2 new=1 effect=live origin=agensium.toml:4`)
	cleanEnd(t, later)
}

func TestNoticesThatWereMissedAreMadeUpFor(t *testing.T) {
	g := newGate(t, "[pool]\nconcurrency = 1\n")
	g.printed(g.worker, " ready.")
	ctx := t.Context()
	celerytest.Eventually(t, "a subscription", func() bool {
		return len(g.broker().PubSubChannels(ctx, "agensium:settings").Val()) == 1
	})
	// As a push by another hand whose notice never came: the connection is cut right after.
	g.broker().LPush(ctx, "agensium:settings", `{"version":7,"by":"me@here","text":"[pool]\nconcurrency = 3\n"}`)
	g.broker().ClientKillByFilter(ctx, "TYPE", "pubsub")
	g.printed(g.worker, `key=pool.concurrency old=1 new=3 effect=live origin="redis version 7"`)
	cleanEnd(t, g.worker)
}

func TestBadSettingsInRedisChangeNothing(t *testing.T) {
	g := newGate(t, "[pool]\nconcurrency = 1\n")
	g.printed(g.worker, " ready.")
	g.broker().LPush(t.Context(), "agensium:settings", `{"version":1,"text":"[pool]\nconcurrency = 'many'\n"}`)
	g.broker().Publish(t.Context(), "agensium:settings", 1)
	g.printed(g.worker, `file="redis version 1" line=2 key=pool.concurrency`)
	later := g.start("worker", "-A", "gated", "-n", "later@%h")
	g.printed(later, `file="redis version 1" line=2 key=pool.concurrency`)
	g.printed(later, " ready.")
	cleanEnd(t, later)
	cleanEnd(t, g.worker)
}
