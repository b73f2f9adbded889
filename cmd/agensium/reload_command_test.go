package main

import (
	"context"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
)

// A command that was edited, added or taken away is so for what starts next.
func TestCommandsAreReloaded(t *testing.T) {
	g := &gate{site: newSite(t, "celery-latest")}
	command := func(task, word string) string {
		return "[[command]]\ntask = \"" + task + "\"\nrun = [\"echo\", \"-n\", \"" + word + "\"]\ninput = \"none\"\nresult = \"text\"\n"
	}
	g.settings(command("t.say", "one"))
	g.set("CELERY_BROKER_URL="+g.redis.URL(0), "CELERY_RESULT_BACKEND="+g.redis.URL(1))
	worker := g.start("worker", "-c", "1")
	g.printed(worker, " ready.")
	c, err := client.Open(g.redis.URL(0), g.redis.URL(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(task string) string {
		ctx, cancel := context.WithTimeout(t.Context(), celerytest.Backstop)
		defer cancel()
		r, err := c.Send(ctx, task)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		if err := r.Get(ctx, &text); err != nil {
			return err.Error()
		}
		return text
	}
	if got := say("t.say"); got != "one" {
		t.Errorf("at first: %s", got)
	}
	g.settings(command("t.say", "two") + command("t.add", "three"))
	g.printed(worker, "old generation ended")
	if said, added := say("t.say"), say("t.add"); said != "two" || added != "three" {
		t.Errorf("after the first change: %s, %s", said, added)
	}
	g.settings(command("t.add", "four"))
	celerytest.Eventually(t, "the second new generation", func() bool { return strings.Count(worker.Output(), "old generation ended") == 2 })
	if said, added := say("t.say"), say("t.add"); !strings.Contains(said, "NotRegistered") || added != "four" {
		t.Errorf("after the second change: %s, %s", said, added)
	}
	cleanEnd(t, worker)
}
