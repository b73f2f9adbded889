package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
)

func success(value any) string {
	text, _ := json.Marshal(value)
	return fmt.Sprintf(`{"status": "SUCCESS", "result": %s, "traceback": null, "children": [], "date_done": null}`, text)
}

func ended(state, class string) string {
	return fmt.Sprintf(`{"status": %q, "result": {"exc_type": %q, "exc_message": ["why"], "exc_module": "builtins"}, "traceback": null, "children": [], "date_done": null}`, state, class)
}

// apply sends a signature and must be able to.
func apply(t *testing.T, c *client.Client, sig *celery.Signature) *client.Result {
	t.Helper()
	r, err := c.Apply(t.Context(), sig)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func numbered(n int) []*celery.Signature {
	list := make([]*celery.Signature, n)
	for i := range list {
		list[i] = celery.S("t.x", i)
	}
	return list
}

func TestManyResultsTakeOneConnectionAndFewCommands(t *testing.T) {
	r := celerytest.StartRedis(t)
	proxy := celerytest.StartProxy(t, r.Addr())
	broker, _ := redisconn.Parse(r.URL(0), nil)
	results, _ := redisconn.Parse(proxy.URL(0), nil)
	c, err := client.New(client.Options{Broker: broker, Results: results})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	group := apply(t, c, celery.Group(numbered(1000)...))
	want := make([]int, 1000)
	for i, child := range group.Children() {
		want[i] = i
		store(t, r, child.ID(), success(i))
	}
	var got []int
	if err := group.Get(t.Context(), &got); err != nil || !cmp.Equal(got, want) {
		t.Fatalf("got %v, %v", got, err)
	}
	count := map[string]int{}
	for _, args := range proxy.Requests() {
		count[strings.ToUpper(args[0])]++
	}
	if count["SUBSCRIBE"] != 1 || count["GET"] > 100 || count["MGET"] > 100 {
		t.Errorf("sent %v", count)
	}
	for _, child := range group.Children()[:50] {
		if err := child.Get(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := proxy.Connections(); n > 2 {
		t.Errorf("%d connections: one subscribes, one reads", n)
	}
}

func TestTheFirstFailureOfAGroupEndsTheWait(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	group := apply(t, c, celery.Group(numbered(3)...))
	failed := group.Children()[2].ID()
	store(t, r, failed, ended("FAILURE", "ValueError"))
	var failure *client.TaskError
	if err := group.Get(t.Context(), nil); !errors.As(err, &failure) || failure.ID != failed || failure.Exception.Type != "ValueError" {
		t.Errorf("got %v", err)
	}
}

func TestNobodyWaitsForWhatWillNeverRun(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	x := func(args ...any) *celery.Signature { return celery.S("t.x", args...) }
	for name, sig := range map[string]*celery.Signature{
		"chain":           celery.Chain(x(1), x(2), x(3)),
		"chain to group":  celery.Chain(x(1), celery.Group(x(2), x(3))),
		"chain to chord":  celery.Chain(x(1), celery.Group(x(2), x(3)), x(4)),
		"group of chains": celery.Group(celery.Chain(x(1), x(2)), x(3)),
	} {
		t.Run(name, func(t *testing.T) {
			result := apply(t, c, sig)
			first := result
			if name == "group of chains" {
				first = result.Children()[0]
			}
			for first.Parent() != nil {
				first = first.Parent()
			}
			monitor := r.Monitor()
			got := make(chan error, 1)
			go func() { got <- result.Get(t.Context(), nil) }()
			celerytest.Eventually(t, "it waits", func() bool { n := monitor.Counts(); return n["GET"]+n["MGET"] >= 1 })
			store(t, r, first.ID(), ended("REVOKED", "TaskRevokedError"))
			var failure *client.TaskError
			if err := <-got; !errors.As(err, &failure) || failure.ID != first.ID() || failure.State != celery.StateRevoked {
				t.Errorf("got %v", err)
			}
			if result.Ref.Group {
				return
			}
			if _, err := result.Wait(t.Context()); !errors.As(err, &failure) {
				t.Errorf("its document: got %v", err)
			}
			store(t, r, result.ID(), ended("FAILURE", "ValueError"))
			if d, err := result.Wait(t.Context()); err != nil || d.State != celery.StateFailure {
				t.Errorf("its document: got %+v, %v", d, err)
			}
		})
	}
}

func TestWhatHasNoResultIsNotWaitedFor(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	ignored := apply(t, c, celery.S("t.x").With(celery.Options{IgnoreResult: true}))
	if err := ignored.Get(t.Context(), nil); !errors.Is(err, client.ErrIgnored) {
		t.Errorf("got %v", err)
	}
	group := apply(t, c, celery.Group(numbered(2)...))
	if _, err := group.Wait(t.Context()); !errors.Is(err, client.ErrGroup) {
		t.Errorf("got %v", err)
	}
	if _, err := group.Document(t.Context()); !errors.Is(err, client.ErrGroup) {
		t.Errorf("got %v", err)
	}
	var none []int
	if err := apply(t, c, celery.Group()).Get(t.Context(), &none); err != nil || none == nil || len(none) != 0 {
		t.Errorf("of no task: %v, %v", none, err)
	}
}

func TestForgetTakesTheStepsBefore(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	x := celery.S("t.x")
	result := apply(t, c, celery.Chain(x, celery.Group(x, x), x))
	ids := []string{result.ID(), result.Parent().Children()[0].ID(), result.Parent().Children()[1].ID(), result.Parent().Parent().ID()}
	for _, id := range ids {
		store(t, r, id, success(1))
	}
	if err := result.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := r.Client(0).Keys(t.Context(), "celery-task-meta-*").Val(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestTheTasksOfAGroupAreRevoked(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := newClient(t, r.URL(0))
	sub := r.Client(0).Subscribe(t.Context(), "/0.celery.pidbox")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	group := apply(t, c, celery.Group(numbered(2)...))
	if err := c.Revoke(t.Context(), client.RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := group.Revoke(t.Context(), client.RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	m, err := sub.ReceiveMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := revocation(t, m.Payload)
	want := []any{group.Children()[0].ID(), group.Children()[1].ID()}
	if diff := cmp.Diff(any(want), body["arguments"].(map[string]any)["task_id"]); diff != "" {
		t.Error(diff)
	}
}

func TestAReadThatFailsIsRepeated(t *testing.T) {
	r := celerytest.StartRedis(t)
	proxy := celerytest.StartProxy(t, r.Addr())
	c := newClient(t, proxy.URL(0))
	store(t, r, "x", success(7))
	cut := proxy.CutAt(2, celerytest.BeforeRequest) // after SUBSCRIBE
	var value int
	if err := c.Result("x").Get(t.Context(), &value); err != nil || value != 7 {
		t.Errorf("got %d, %v", value, err)
	}
	<-cut
}

func TestAWaitThatIsRefusedEnds(t *testing.T) {
	r := celerytest.StartRedis(t)
	if err := r.Client(0).Do(t.Context(), "ACL", "SETUSER", "deaf", "on", ">pw", "~*", "+@all", "resetchannels").Err(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, strings.Replace(r.URL(0), "redis://", "redis://deaf:pw@", 1))
	if err := c.Result("x").Get(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("got %v", err)
	}
	nobody := newClient(t, strings.Replace(r.URL(0), "redis://", "redis://deaf:no@", 1))
	if err := nobody.Result("x").Get(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("got %v", err)
	}
	away := newClient(t, fmt.Sprintf("redis://127.0.0.1:%d/0", celerytest.FreePort(t)))
	if err := away.Result("x").Get(t.Context(), nil); redisconn.Classify(err).Name != redisconn.Unreachable {
		t.Errorf("got %v", err)
	}
}

func TestAWaitEndsWithItsContextWhileNobodyAnswers(t *testing.T) {
	r := celerytest.StartRedis(t)
	proxy := celerytest.StartProxy(t, r.Addr())
	proxy.BlackHole(true)
	c := newClient(t, proxy.URL(0))
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := c.Result("x").Get(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
}

func TestNoWaitIsLostWithItsConnection(t *testing.T) {
	r := celerytest.StartRedis(t)
	proxy := celerytest.StartProxy(t, r.Addr())
	c := newClient(t, proxy.URL(0))
	const tasks = 100
	got := make(chan error, tasks)
	for i := range tasks {
		go func() {
			var value int
			err := c.Result(fmt.Sprint(i)).Get(t.Context(), &value)
			if err == nil && value != i {
				err = fmt.Errorf("task %d: %d", i, value)
			}
			got <- err
		}()
	}
	for i := range tasks {
		store(t, r, fmt.Sprint(i), success(i))
		if i%10 == 5 {
			proxy.CutAll()
		}
	}
	for range tasks {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}
