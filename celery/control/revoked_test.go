package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

func revokedTask(c *Control, id string) bool {
	_, revoked := c.Revoked.Task(&celery.Task{ID: id})
	return revoked
}

func TestRevokeReachesAllNodes(t *testing.T) {
	r := celerytest.StartRedis(t)
	w1 := startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	w2 := startControl(t, testOptions(t, "w2@host", r.URL(0), Node{}))
	// As a command for w1 alone would.
	w1.Revoked.Revoke(t.Context(), []string{"id-1"})
	if !revokedTask(w1, "id-1") {
		t.Error("the node that was told does not know")
	}
	celerytest.Eventually(t, "the other node to know", func() bool { return revokedTask(w2, "id-1") })
	w3 := startControl(t, testOptions(t, "w3@host", r.URL(0), Node{}))
	await(t, "the shared list to be read", w3.Revoked.Loaded())
	if !revokedTask(w3, "id-1") {
		t.Error("a node that starts later does not know")
	}
	if revokedTask(w3, "id-2") {
		t.Error("a task that nobody revoked is revoked")
	}
	if ttl := r.Client(0).TTL(t.Context(), "agensium:revoked").Val(); ttl <= 0 || ttl > RevokedAge+time.Minute {
		t.Errorf("time to live of the list: %s", ttl)
	}
}

func TestRevokeByStamps(t *testing.T) {
	r := celerytest.StartRedis(t)
	running := Request{Task: &celery.Task{ID: "a-1", Stamps: []byte(`{"user":["u1","u2"],"n":7}`)}}
	fake := &fakeNode{active: []Request{running}}
	c := startControl(t, testOptions(t, "w1@host", r.URL(0), fake.node()))
	k := newClient(t, r)
	for name, test := range map[string]struct{ arguments, want string }{
		"flagged":         {`{"headers":{"user":"u9"}}`, `headers {'user': 'u9'} flagged as revoked, but not terminated`},
		"from the shell":  {`{"headers":["user=u8"]}`, `headers {'user': 'u8'} flagged as revoked, but not terminated`},
		"none terminated": {`{"headers":{"user":["u7"]},"terminate":true}`, `headers {'user': ['u7']} were not terminated`},
		"terminated":      {`{"headers":{"user":["u2","u6"]},"terminate":true,"signal":"SIGKILL"}`, `headers defaultdict(<class 'set'>, {'user': {'u2'}}) revoked`},
		"by a number":     {`{"headers":{"n":7},"terminate":true}`, `headers defaultdict(<class 'set'>, {'n': {7}}) revoked`},
	} {
		t.Run(name, func(t *testing.T) {
			var answer struct{ OK string }
			if err := json.Unmarshal(k.ask("revoke_by_stamped_headers", json.RawMessage(test.arguments))["w1@host"], &answer); err != nil {
				t.Fatal(err)
			}
			if answer.OK != test.want {
				t.Errorf("got  %s\nwant %s", answer.OK, test.want)
			}
		})
	}
	for stamps, want := range map[string]bool{
		`{"user":"u9"}`: true, `{"user":["x","u8"]}`: true, `{"user":"u1"}`: false, `{"other":"u9"}`: false, `{"n":7}`: true,
		`{"n":"7"}`: false, `not JSON`: false, ``: false,
	} {
		if _, got := c.Revoked.Task(&celery.Task{ID: "b", Stamps: []byte(stamps)}); got != want {
			t.Errorf("task with stamps %s: revoked is %t, want %t", stamps, got, want)
		}
	}
}

func TestRevokedIsBounded(t *testing.T) {
	r := newRevoked(3, time.Hour, Names{}, nil, hclog.NewNullLogger())
	now := minute(time.Now())
	for i, age := range []time.Duration{0, 5 * time.Minute, 10 * time.Minute, 0} {
		r.put(revocation{fmt.Sprintf("i%d", i), now.Add(-age)})
	}
	if got, want := r.IDs(), []string{"1", "0", "3"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v: the oldest goes first", got, want)
	}
	r.put(revocation{"iold", now.Add(-2 * time.Hour)})
	r.put(revocation{"i1", now})
	if got, want := r.IDs(), []string{"0", "3", "1"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v: what is too old goes, what is renewed stays", got, want)
	}
}

func TestManyRevokes(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
	k := newClient(t, r)
	ids := make([]string, 60_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%036d", i)
	}
	k.ask("revoke", map[string]any{"task_id": ids})
	if n := len(c.Revoked.IDs()); n != RevokedMost {
		t.Errorf("%d ids are kept, want %d", n, RevokedMost)
	}
	if n := k.redis.ZCard(t.Context(), "agensium:revoked").Val(); n != RevokedMost {
		t.Errorf("%d ids are shared, want %d", n, RevokedMost)
	}
	if !revokedTask(c, ids[len(ids)-1]) {
		t.Error("the last one is not revoked")
	}
}

// Somebody who revokes thousands of tasks one by one, and does not wait for replies, has them all revoked.
func TestManyRequestsToRevoke(t *testing.T) {
	r := celerytest.StartRedis(t)
	fake := &fakeNode{}
	o := testOptions(t, "w1@host", r.URL(0), fake.node())
	o.Log.SetLevel(hclog.Warn) // a line for each would be the most of the work
	c := startControl(t, o)
	const many = 10_000
	pipe := r.Client(0).Pipeline()
	for i := range many {
		pipe.Publish(t.Context(), "/0.celery.pidbox", jsonMessage(t, fmt.Sprintf(`{"method":"revoke","arguments":{"task_id":"%036d"}}`, i)))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	celerytest.Eventually(t, "all to be shared", func() bool { return r.Client(0).ZCard(t.Context(), "agensium:revoked").Val() == many })
	if n := len(c.Revoked.IDs()); n != many {
		t.Errorf("%d are revoked, want %d", n, many)
	}
	celerytest.Eventually(t, "the node to be told of all", func() bool { return len(fake.recorded()) == many })
}

func TestRevokeIsSharedWhenRedisIsBack(t *testing.T) {
	r := celerytest.StartRedis(t)
	p := celerytest.StartProxy(t, r.Addr())
	c := startControl(t, testOptions(t, "w1@host", p.URL(0), Node{}))
	p.Refuse(true)
	p.CutAll()
	c.Revoked.Revoke(t.Context(), []string{"id-1"})
	if !revokedTask(c, "id-1") {
		t.Error("without Redis the node forgets")
	}
	p.Refuse(false)
	celerytest.Eventually(t, "the shared list to be written", func() bool {
		return r.Client(0).ZCard(t.Context(), "agensium:revoked").Val() == 1
	})
}

func TestRevokedCostsOneWriteForABroadcast(t *testing.T) {
	r := celerytest.StartRedis(t)
	nodes := []*Control{}
	for i := range 3 {
		nodes = append(nodes, startControl(t, testOptions(t, fmt.Sprintf("w%d@host", i), r.URL(0), Node{})))
	}
	m := r.Monitor()
	for _, n := range nodes {
		n.Revoked.revoke(context.Background(), []string{"iid-1"})
	}
	if n := m.Counts()["PUBLISH"]; n > 2 { // two only if the minute changed meanwhile
		t.Errorf("%d notices for one revocation", n)
	}
}

func TestNoticesAreCheckedBeforeUse(t *testing.T) {
	r := newRevoked(3, time.Hour, Names{}, nil, hclog.NewNullLogger())
	for _, payload := range []string{"", "x", "[]", `{"at":"x"}`, `{"names":[1]}`, `{"at":-9e30,"names":["ia"]}`} {
		r.noticed(payload)
	}
	if ids := r.IDs(); len(ids) > 0 {
		t.Errorf("taken from nonsense: %v", ids)
	}
	r.noticed(fmt.Sprintf(`{"at":%d,"names":["ib"]}`, time.Now().Add(1000*time.Hour).Unix()))
	r.noticed(fmt.Sprintf(`{"at":%d,"names":["ic"]}`, time.Now().Add(-1000*time.Hour).Unix()))
	if ids := r.IDs(); !slices.Equal(ids, []string{"b"}) {
		t.Errorf("kept %v, want b alone", ids)
	}
	if at := r.order.Back().Value.(revocation).at; at.After(minute(time.Now())) {
		t.Errorf("an entry of the future: %s", at)
	}
}

func TestStampsOfARecordedMessage(t *testing.T) {
	f := celerytest.Load(t, "5.6.2", "stamped")
	task, err := celery.Decode(f.Messages[0].Raw, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	r := newRevoked(0, 0, Names{}, &link{closed: true}, hclog.NewNullLogger())
	if by, revoked := r.Task(task); revoked {
		t.Fatalf("revoked by %s before anybody did", by)
	}
	for header, values := range stampValues(task.Stamps) {
		var value any
		if err := json.Unmarshal([]byte(values[0]), &value); err != nil {
			t.Fatal(err)
		}
		r.RevokeStamps(t.Context(), map[string]any{header: []any{"other", value}})
		if by, revoked := r.Task(task); !revoked || by != header+"="+values[0] {
			t.Errorf("revoked %t by %q after a revocation of %s=%s", revoked, by, header, values[0])
		}
		return
	}
	t.Fatal("the message has no stamps")
}
