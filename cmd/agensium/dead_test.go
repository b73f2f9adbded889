package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

// cemetery is a Redis in which messages of a queue were buried, each with a cause.
func cemetery(t *testing.T, prefix string, causes ...string) *celerytest.Redis {
	t.Helper()
	r := celerytest.StartRedis(t)
	target, err := redisconn.Parse(r.URL(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Options{Target: target, Node: "w@test", Queues: []string{"celery"}, KeyPrefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), celerytest.Backstop)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Run(context.Background()) }()
	for i, cause := range causes {
		raw := `{"body": "W10=", "headers": {"task": "shop.pay", "id": "id-` + cause + `", "x-delivery-count": 3}, "properties": {"delivery_tag": "x"}}`
		if err := r.Client(0).LPush(ctx, prefix+"celery", raw).Err(); err != nil {
			t.Fatal(err)
		}
		d, err := b.Next(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		letter := &broker.DeadLetter{TaskID: "id-" + cause, Task: "shop.pay", Cause: cause, Detail: "killed by\nSIGKILL", Memory: int64(i+1) << 20, Tail: []string{"last words"}}
		if err := b.Settle(ctx, broker.Finished{Delivery: d, Settlement: broker.Settlement{Action: broker.Bury, Dead: letter}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return r
}

// dead runs agensium dead and returns status, what it printed, and what it complained of.
func dead(t *testing.T, r *celerytest.Redis, args ...string) (int, string, string) {
	t.Helper()
	var out, said bytes.Buffer
	status := run(t.Context(), append([]string{"-b", r.URL(0), "dead"}, args...), stdio{in: strings.NewReader(""), out: &out, err: &said})
	return status, out.String(), said.String()
}

func listed(t *testing.T, r *celerytest.Redis, args ...string) (ids, causes []string) {
	t.Helper()
	status, out, said := dead(t, r, append([]string{"list", "--json"}, args...)...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, said)
	}
	for line := range strings.Lines(out) {
		var l broker.DeadLetter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		ids, causes = append(ids, l.ID), append(causes, l.Cause)
	}
	return ids, causes
}

func TestDeadListAndShow(t *testing.T) {
	r := cemetery(t, "", "oom", "max_deliveries", "signal")
	ids, causes := listed(t, r)
	if got := strings.Join(causes, " "); got != "signal max_deliveries oom" {
		t.Errorf("the newest first: %s", got)
	}
	for name, c := range map[string]struct{ args, want string }{
		"cause":         {"--cause oom", "oom"},
		"task":          {"--task shop.pay --cause signal", "signal"},
		"another task":  {"--task shop.ship", ""},
		"limit":         {"-n 1", "signal"},
		"newer":         {"--newer 1h", "signal max_deliveries oom"},
		"older":         {"--older 1h", ""},
		"another queue": {"-Q other", ""},
	} {
		if _, causes := listed(t, r, strings.Fields(c.args)...); strings.Join(causes, " ") != c.want {
			t.Errorf("%s: %v", name, causes)
		}
	}
	if _, out, _ := dead(t, r, "list"); !strings.Contains(out, ids[0]) || !strings.Contains(out, "killed by SIGKILL") || strings.Count(out, "\n") != 4 {
		t.Errorf("table: %s", out)
	}
	_, out, _ := dead(t, r, "show", ids[2])
	for _, want := range []string{"shop.pay", "id-oom", "oom", "w@test", "1 MiB", "last words", `"x-delivery-count": 3`} {
		if !strings.Contains(out, want) {
			t.Errorf("show lacks %q: %s", want, out)
		}
	}
	var l broker.DeadLetter
	if _, out, _ := dead(t, r, "show", "--json", ids[2]); json.Unmarshal([]byte(out), &l) != nil || l.Cause != "oom" {
		t.Errorf("show --json: %s", out)
	}
}

func TestDeadRetryAndDrop(t *testing.T) {
	r := cemetery(t, "", "oom", "max_deliveries", "signal", "oom")
	c := r.Client(0)
	if status, out, said := dead(t, r, "retry", "--cause", "oom"); status != 0 || out != "retried: 2\n" {
		t.Errorf("status %d: %s%s", status, out, said)
	}
	for _, raw := range c.LRange(t.Context(), "celery", 0, -1).Val() {
		if !strings.Contains(raw, "id-oom") || !strings.Contains(raw, `"x-delivery-count": 0`) {
			t.Errorf("in the queue: %s", raw)
		}
	}
	ids, _ := listed(t, r)
	if status, out, said := dead(t, r, "drop", ids[0]); status != 0 || out != "dropped: 1\n" {
		t.Errorf("status %d: %s%s", status, out, said)
	}
	if status, out, said := dead(t, r, "drop", "--all"); status != 0 || out != "dropped: 1\n" {
		t.Errorf("status %d: %s%s", status, out, said)
	}
	if status, out, _ := dead(t, r, "list"); status != 0 || out != "no dead letters\n" || c.LLen(t.Context(), "celery").Val() != 2 {
		t.Errorf("status %d: %s", status, out)
	}
}

func TestDeadLettersUnderAKeyPrefix(t *testing.T) {
	r := cemetery(t, "shop:", "oom")
	if ids, _ := listed(t, r); len(ids) != 0 {
		t.Errorf("without the prefix: %v", ids)
	}
	if _, out, _ := dead(t, r, "--key-prefix", "shop:", "retry", "--all"); out != "retried: 1\n" || r.Client(0).LLen(t.Context(), "shop:celery").Val() != 1 {
		t.Errorf("with it: %s", out)
	}
}

func TestDeadComplainsInWords(t *testing.T) {
	r := celerytest.StartRedis(t)
	for name, c := range map[string]struct {
		args   string
		status int
		says   string
	}{
		"show nothing":      {"show nobody", 1, "no such dead letter: nobody\nhint: agensium dead list"},
		"retry nothing":     {"retry nobody", 1, "no such dead letter: nobody"},
		"drop nothing":      {"drop nobody", 1, "no such dead letter: 1 of 1 ids"},
		"drop what":         {"drop", 2, "which dead letters?\nhint: give ids"},
		"ids and a filter":  {"retry x --task y", 2, "together"},
		"no age":            {"list --older soon", 2, `--older "soon": not an age`},
		"nothing to choose": {"retry --all", 0, ""},
	} {
		if status, _, said := dead(t, r, strings.Fields(c.args)...); status != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%s: status %d: %s", name, status, said)
		}
	}
	r.Stop()
	if status, _, said := dead(t, r, "list"); status != 1 || !strings.Contains(said, "list dead letters") || !strings.Contains(said, "hint:") {
		t.Errorf("without Redis: status %d: %s", status, said)
	}
}
