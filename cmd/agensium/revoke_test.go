package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

// sideNode starts a node for the application of these tests and waits until it is ready.
func sideNode(t *testing.T, exe string, env []string, args ...string) *celerytest.Process {
	t.Helper()
	env = append(env, fmt.Sprintf("PORT=%d", celerytest.FreePort(t)))
	node := celerytest.StartProcess(t, side(t), env, exe, append([]string{"-A", "side:app", "worker"}, args...)...)
	celerytest.Eventually(t, "the node to be ready", func() bool { return strings.Contains(node.Output(), " ready.") })
	return node
}

// sideClient runs Python with the application of these tests and returns what it printed.
func sideClient(t *testing.T, python string, env []string, script string) string {
	t.Helper()
	head := fmt.Sprintf("import sys, time; sys.path.insert(0, %q)\nfrom side import *\nfrom celery.result import AsyncResult\n", side(t))
	return strings.TrimSpace(celerytest.RunPython(t, python, head+script, env...))
}

// A revoke reaches tasks in a queue, parked, running on any node, those that a later node meets, and the parts of a chord.
func TestRevokesReachEveryTask(t *testing.T) {
	exe, python, redis := program(t), celerytest.Venv(t, "celery-latest"), celerytest.StartRedis(t)
	env := sideEnv(t, python, redis.URL(0))
	first := sideNode(t, exe, env, "-c", "1", "-n", "a@test")
	second := sideNode(t, exe, env, "-c", "1", "-n", "b@test", "-Q", "other")

	got := sideClient(t, python, env, `
from celery import chord
at = app.control.inspect(['b@test'], timeout=20)
parked = add.apply_async((1, 2), countdown=3000)
body = chord([add.s(1, 1), add.s(2, 2).set(countdown=3000)])(add.si(5, 5))
while len(at.scheduled()['b@test']) < 2 or not body.parent[0].ready():
    pass
app.control.revoke([parked.id, body.parent[1].id], reply=True, timeout=20, limit=2)
print(body.get(timeout=20, propagate=False))
while parked.state != 'REVOKED' or at.scheduled()['b@test']:
    pass
running = [sleep.delay(600), sleep.apply_async((600,), queue='other')]
while any(len(v) < 1 for v in app.control.inspect(['a@test', 'b@test'], timeout=20).active().values()):
    pass
queued = add.delay(1, 2)
app.control.revoke(queued.id, reply=True, timeout=20, limit=2)
while queued.state != 'REVOKED':
    pass
app.control.revoke([r.id for r in running], terminate=True, signal='SIGKILL', reply=True, timeout=20, limit=2)
for r in running:
    while str(AsyncResult(r.id).result) != 'terminated':  # whoever does not run it says first that it is revoked
        pass
    print(AsyncResult(r.id).state)
`)
	if !strings.HasPrefix(got, "Dependency ") || !strings.HasSuffix(got, "revoked')\nREVOKED\nREVOKED") {
		t.Errorf("the chord's body, and what was terminated, said %q", got)
	}

	second.Terminate()
	first.Terminate()
	late := sideClient(t, python, env, "r = add.delay(1, 2); print(r.id)")
	keeper := sideNode(t, exe, env, "-c", "1", "-n", "c@test", "-Q", "nothing")
	sideClient(t, python, env, fmt.Sprintf("app.control.revoke(%q, reply=True, timeout=20, limit=1)\nwhile AsyncResult(%q).state != 'REVOKED': pass", late, late))
	keeper.Terminate()
	redis.Client(0).Del(t.Context(), "celery-task-meta-"+late)
	sideNode(t, exe, env, "-c", "1", "-n", "d@test")
	if got := sideClient(t, python, env, fmt.Sprintf("r = AsyncResult(%q)\nwhile not r.ready(): pass\nprint(r.state)", late)); got != "REVOKED" {
		t.Errorf("a task that was revoked before the node started ended as %s", got)
	}
}

// A node that drains still hears that its running task is to be terminated, and has said that it goes.
func TestRevokeWhileDraining(t *testing.T) {
	exe, python, redis := program(t), celerytest.Venv(t, "celery-latest"), celerytest.StartRedis(t)
	env := sideEnv(t, python, redis.URL(0))
	node := sideNode(t, exe, env, "-c", "1", "-n", "a@test")
	events := redis.Client(0).PSubscribe(t.Context(), "/0.celeryev/worker.offline")
	defer events.Close()
	if _, err := events.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := sideClient(t, python, env, "r = sleep.delay(600)\nwhile not app.control.inspect(['a@test'], timeout=20).active()['a@test']: pass\nprint(r.id)")
	node.Signal(15)
	if _, err := events.ReceiveMessage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := sideClient(t, python, env, fmt.Sprintf("app.control.revoke(%q, terminate=True, reply=True, timeout=20, limit=1)\nr = AsyncResult(%q)\nwhile not r.ready(): pass\nprint(r.state)", id, id)); got != "REVOKED" {
		t.Errorf("the task ended as %s", got)
	}
	if status := node.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// The signals of Celery's parent process fire once each, in Celery's order; heartbeat_sent from time to time.
func TestSignalsOfTheParent(t *testing.T) {
	exe, redis := program(t), celerytest.StartRedis(t)
	for _, release := range celerytest.Venvs {
		t.Run(release, func(t *testing.T) {
			python := celerytest.Venv(t, release)
			noted := filepath.Join(t.TempDir(), "signals")
			env := append(sideEnv(t, python, redis.URL(0)), "TEST_SIGNALS="+noted)
			node := sideNode(t, exe, env, "-c", "2", "-n", "a@test", "--heartbeat-interval", "1")
			read := func() []string {
				text, _ := os.ReadFile(noted)
				return strings.Fields(string(text))
			}
			celerytest.Eventually(t, "two heartbeats", func() bool { return strings.Count(strings.Join(read(), " "), "heartbeat_sent") > 1 })
			node.Terminate()
			var others []string
			for _, name := range read() {
				if name != "heartbeat_sent" {
					others = append(others, name)
				}
			}
			want := []string{"celeryd_init", "worker_init", "celeryd_after_setup", "worker_ready", "worker_shutting_down", "worker_shutdown"}
			if diff := cmp.Diff(want, others); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What Celery's parent process says of a task that does not run, or whose process was lost, is said, and logged for what reports errors.
func TestSignalsAboutTasks(t *testing.T) {
	exe, redis := program(t), celerytest.StartRedis(t)
	for _, release := range celerytest.Venvs {
		t.Run(release, func(t *testing.T) {
			python := celerytest.Venv(t, release)
			noted := filepath.Join(t.TempDir(), "told")
			env := append(sideEnv(t, python, redis.URL(0)), "TEST_TOLD="+noted)
			node := sideNode(t, exe, env, "-c", "1", "-n", "a@test")
			sideClient(t, python, env, `
def end(result):
    try:
        result.get(timeout=20)
    except Exception:
        pass
end(add.apply_async((1, 2), countdown=1))
end(app.send_task('nobody.knows'))
end(add.apply_async((1, 2), expires=-1))
end(sleep.apply_async((30,), time_limit=0.2))
with app.connection() as c:
    c.default_channel.basic_publish({'body': '{}', 'content-type': 'application/json', 'content-encoding': 'utf-8', 'headers': {},
                                     'properties': {'delivery_info': {}, 'delivery_tag': 'x'}}, '', 'celery')
add.apply_async((1, 2), headers={'eta': 'never'})
running = sleep.delay(30)
while not any(app.control.inspect(['a@test'], timeout=20).active().values()):
    pass
app.control.revoke(running.id, terminate=True, signal='SIGTERM')
end(running)
`)
			want := []string{
				"logged celery.worker.consumer.consumer: Received unregistered task of type 'nobody.knows'.",
				"logged celery.worker.request: Hard time limit (0.2s) exceeded for side.sleep",
				"logged celery.worker.request: Task handler raised error: TimeLimitExceeded(0.2)",
				"task_failure TimeLimitExceeded, handled: True",
				"task_received side.add", "task_received side.sleep", "task_received side.sleep",
				"task_rejected InvalidTaskError", "task_rejected NoneType",
				"task_revoked False None", "task_revoked True 15",
				"task_unknown nobody.knows KeyError",
			}
			told := func() []string {
				text, _ := os.ReadFile(noted)
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				slices.Sort(lines)
				return lines
			}
			celerytest.Eventually(t, "all that is to be told", func() bool { return len(told()) >= len(want) })
			node.Terminate()
			if diff := cmp.Diff(want, told()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Celery revokes the body of a chord that failed, after it recorded why. The reason stays.
func TestTheBodyOfAFailedChordSaysWhy(t *testing.T) {
	exe, python, redis := program(t), celerytest.Venv(t, "celery-latest"), celerytest.StartRedis(t)
	env := sideEnv(t, python, redis.URL(0))
	sideNode(t, exe, env, "-c", "2", "-n", "a@test")
	got := sideClient(t, python, env, `
from celery import chain, group
for _ in range(5):
    r = chain(group(add.si(1, 2), add.si(1, 'a')), group(add.si(1, 1), add.si(2, 2))).apply_async()
    try:
        r.get(timeout=20)
    except Exception as exc:
        print(type(exc).__name__)
`)
	if got != strings.TrimSpace(strings.Repeat("TypeError\n", 5)) {
		t.Error(got)
	}
}
