package config

import (
	"strings"
	"testing"
)

// A contradiction is shown where it was written, whatever wrote it.
func TestPlaceOfAProblem(t *testing.T) {
	for want, in := range map[string]Input{
		"agensium.toml:2: lease.idle_ttl: is 20s, less than lease.ttl = 30s":                      {Dir: dir(t, map[string]string{fileName: "[lease]\nidle_ttl = \"20s\"\n"})},
		"redis version 9:3: drain.margin: is 5s, not less than drain.timeout = 5s":                {Stored: &Document{Version: 9, Text: []byte("[drain]\ntimeout = 5\nmargin = 5\n")}},
		"redis version 9:1: nodes: is unknown (did you mean node?)":                               {Stored: &Document{Version: 9, Text: []byte("nodes = 1\n")}},
		"environment: CELERY_BROKER_URL: broker.url \"sqs://\" is no Redis":                       {Env: env(map[string]string{"CELERY_BROKER_URL": "sqs://"})},
		"environment: CELERY_WORKER_EXCLUDE_QUEUES: broker.exclude leaves no queue to consume":    {Env: env(map[string]string{"CELERY_WORKER_EXCLUDE_QUEUES": "a", "CELERY_WORKER_QUEUES": "a"})},
		"command line: --autoscale: scaling.queues ask for 3 slots in all, more than pool.concur": {Flags: &Flags{Autoscale: "2,1"}, Stored: &Document{Version: 1, Text: []byte("scaling.queues.a.min = 3\n")}},
	} {
		if in.Env == nil {
			in.Env = nothing
		}
		if in.Dir == "" {
			in.Dir = t.TempDir()
		}
		_, err := Load(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// A share for a queue that nobody consumes is often a slip of the pen.
func TestShareOfAQueueThatIsNotConsumed(t *testing.T) {
	l := must(t, Input{Dir: dir(t, map[string]string{fileName: "[broker]\nqueues = ['mail', 'bulk']\n[scaling.queues.mial]\nmin = 1\n[scaling.queues.bulk]\nmin = 1\n"})})
	if len(l.Notes) != 1 || l.Notes[0].Key != "scaling.queues.mial" || !strings.HasPrefix(l.Notes[0].Text, "this queue is not consumed: broker.queues (") {
		t.Errorf("%+v", l.Notes)
	}
}

// The application's own contradictions are not ours to refuse.
func TestTheApplicationIsNotRefused(t *testing.T) {
	e := must(t, Input{}).Resolve(AppSettings{
		BrokerURL: ptr("amqp://u:" + secret + "@h"), PrioritySteps: []int{3, 0}, Queues: []string{""}, Concurrency: ptr(-1), QueueOrderStrategy: ptr("chaotic"),
		TimeLimit: ptr(1.0), SoftTimeLimit: ptr(2.0), RateLimit: ptr("10/m"), MaxMemoryPerChild: ptr(-5),
	})
	if e.Config.Pool.Concurrency != 4 || e.Config.Broker.QueueOrder != "round_robin" || e.Config.Tasks.RateLimit.Limit != "10/m" {
		t.Errorf("%+v", e.Config)
	}
	var notes []string
	for _, n := range e.Notes {
		notes = append(notes, n.String())
	}
	if all := strings.Join(notes, "\n"); len(notes) != 7 || strings.Contains(all, secret) {
		t.Errorf("%d notes:\n%s", len(notes), all)
	}
}

func TestIdleCosts(t *testing.T) {
	c := Defaults()
	total := func() (n int) {
		for _, cost := range c.IdleCosts() {
			n += cost.PerMonth
		}
		return n
	}
	if n := total(); n > 2*60*24*30 {
		t.Errorf("an idle node with one queue sends %d commands a month, more than 2 a minute", n)
	}
	c.Broker.Queues = []string{"a", "b", "c"} // twelve keys, four beyond max_blocked
	if n := total(); n < 4*518400 {
		t.Errorf("%d", n)
	}
	c.Broker.Consume = false
	if n := total(); n != 8640+25920+4320 {
		t.Errorf("%d", n)
	}
}
