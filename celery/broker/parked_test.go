package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

func park(t *testing.T, b *Broker, until time.Time, edit func(*Settlement)) {
	t.Helper()
	s := Settlement{Action: Park, Until: until}
	if edit != nil {
		edit(&s)
	}
	if err := b.Settle(bounded(t), Finished{next(t, b, nil), s}); err != nil {
		t.Fatal(err)
	}
}

func TestParkedTasksAreListedAndWokenBeforeTheirTime(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	due := time.Now().Add(time.Hour).Truncate(time.Second)
	const n = parkedPage + 50 // more than a page
	for i := range n {
		push(t, c, "celery", fmt.Sprint(i))
		park(t, b, due.Add(time.Duration(i)*time.Second), nil)
	}
	listed, err := b.Parked(bounded(t), n-10)
	if err != nil || len(listed) != n-10 {
		t.Fatalf("%d listed: %v", len(listed), err)
	}
	for i, p := range listed {
		if idOf(p.Message) != fmt.Sprint(i) || p.Queue != "celery" || !p.Until.Equal(due.Add(time.Duration(i)*time.Second)) {
			t.Fatalf("number %d is %s of %s due at %s", i, idOf(p.Message), p.Queue, p.Until)
		}
	}
	moved, err := b.Hasten(bounded(t), func(t *celery.Task) bool { return len(t.ID) == 1 || t.ID == "249" })
	if err != nil || moved != 11 {
		t.Fatalf("%d moved: %v", moved, err)
	}
	seen := consume(t, 11, b)
	for id, ds := range seen {
		if (len(id) != 1 && id != "249") || len(ds) != 1 {
			t.Errorf("%s came %d times", id, len(ds))
		}
	}
	if left := c.ZCard(bounded(t), "agensium:parked").Val(); left != n-11 || len(seen) != 11 {
		t.Errorf("%d seen, %d left", len(seen), left)
	}
}

func TestAMessageMayBeParkedAsAnother(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0))
	push(t, r.Client(0), "celery", "a")
	edited, err := celery.ParkedFor([]byte(message("a", 0)), `0 "10/m"`)
	if err != nil {
		t.Fatal(err)
	}
	park(t, b, time.Now(), func(s *Settlement) { s.Message = edited })
	d := next(t, b, nil)
	task, err := celery.Decode(d.Raw, nil)
	if err != nil || task.Parked != `0 "10/m"` || task.ID != "a" {
		t.Errorf("came back as %+v: %v", task, err)
	}
}

func TestOnlyResultsOfTasksThatNobodyBeganAreStored(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	ctx := bounded(t)
	want := map[string]string{}
	var docs []celery.Result
	for _, state := range []string{"", "RETRY", "STARTED", "PROGRESS", "SUCCESS", "FAILURE"} {
		key, was, revoked := "celery-task-meta-"+state, `{"status": "`+state+`"}`, `{"status": "REVOKED"}`
		want[key] = was
		switch state {
		case "":
			want[key] = revoked
		case "RETRY":
			want[key] = revoked
			fallthrough
		default:
			c.Set(ctx, key, was, 0)
		}
		docs = append(docs, celery.Result{Key: key, Document: []byte(revoked)})
	}
	heard := c.Subscribe(ctx, "celery-task-meta-")
	defer heard.Close()
	if _, err := heard.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.StoreUnbegun(ctx, docs); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for key := range want {
		got[key] = c.Get(ctx, key).Val()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m, err := heard.ReceiveMessage(ctx); err != nil || m.Payload != `{"status": "REVOKED"}` {
		t.Errorf("heard %v: %v", m, err)
	}
	if ttl := c.TTL(ctx, "celery-task-meta-").Val(); ttl != time.Hour {
		t.Errorf("the result lives for %s", ttl)
	}
}
