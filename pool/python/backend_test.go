package python

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

func TestOtherBackendsAreLeftToCelery(t *testing.T) {
	python := interpreter(t, latest)
	r := celerytest.StartRedis(t)
	db, url := r.Client(0), "redis+socket://"+r.Socket()
	dir := t.TempDir()
	for name, test := range map[string]struct {
		backend string
		store   func(context.Context, []celery.Result) error
		stored  func(id string) bool
	}{
		"none": {"", discard, func(string) bool { return true }},
		"file": {"file://" + dir, discard, func(id string) bool {
			_, err := os.Stat(filepath.Join(dir, "celery-task-meta-"+id))
			return err == nil
		}},
		"redis without a store": {url, nil, func(id string) bool {
			text, err := db.Get(context.Background(), "celery-task-meta-"+id).Result()
			return err == nil && strings.Contains(text, `"SUCCESS"`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			env := "TEST_BACKEND=" + test.backend
			app := start(t, Options{Interpreter: python, App: "whole", Dir: "testdata/apps", Env: append(os.Environ(), env), Store: test.store})
			task := startClient(t, python, "testdata/apps", "whole", env).one(t, `add.delay(1, 2)`)
			out, err := child1(t, app).Execute(context.Background(), jobOf(task))
			if err != nil || out.State != celery.StateSuccess || len(out.Results) > 0 || !test.stored(task.ID) {
				t.Errorf("%+v %v", out, err)
			}
		})
	}
}

func TestStatesOnTheWayAreStoredBeforeTheEnd(t *testing.T) {
	python := interpreter(t, latest)
	var seen []string
	store := func(_ context.Context, docs []celery.Result) error {
		for _, d := range docs {
			seen = append(seen, string(d.Document))
		}
		return nil
	}
	app := start(t, Options{Interpreter: python, App: "whole", Dir: "testdata/apps", Store: store})
	client := startClient(t, python, "testdata/apps", "whole")
	executor := child1(t, app)
	for expression, want := range map[string]struct {
		before string
		after  int
	}{
		`started.delay()`:                          {`"STARTED"`, 1},
		`progress.delay()`:                         {`"PROGRESS"`, 1},
		`based.delay()`:                            {`"SUCCESS"`, 0}, // its on_success may look at the result
		`first_success.delay()`:                    {`"early"`, 0},   // and the failure after it is not stored
		`fail.apply_async(link_error=errback.s())`: {`"FAILURE"`, 0},
	} {
		seen = nil
		out, err := executor.Execute(context.Background(), jobOf(client.send(t, expression)[0].task))
		if err != nil || len(seen) != 1 || !strings.Contains(seen[0], want.before) || len(out.Results) != want.after {
			t.Errorf("%s: before %s, after %s, %v", expression, seen, out.Results, err)
		}
	}
}

func TestStoreErrorIsTheTasksFailure(t *testing.T) {
	python := interpreter(t, latest)
	store := func(context.Context, []celery.Result) error { return errors.New("no room") }
	app := start(t, Options{Interpreter: python, App: "whole", Dir: "testdata/apps", Store: store})
	task := startClient(t, python, "testdata/apps", "whole").one(t, `progress.delay()`)
	out, err := child1(t, app).Execute(context.Background(), jobOf(task))
	if err != nil || out.State != celery.StateFailure || !strings.Contains(out.Exception, "no room") {
		t.Errorf("%+v %v", out, err)
	}
}

func TestOverridesAndDefaults(t *testing.T) {
	python := interpreter(t, latest)
	app := start(t, Options{Interpreter: python, App: "whole", Dir: "testdata/apps", Queues: []string{"a", "b"},
		Conf:     map[string]any{"broker_url": "redis://elsewhere/3", "task_acks_late": true, "result_expires": 60},
		Defaults: map[string]any{"result_backend": "redis://unused/0"}})
	info := app.Info()
	if s := info.Settings; s.BrokerURL != "redis://elsewhere/3" || s.ResultBackend != "redis://127.0.0.1:1/1" || s.ResultExpires != 60 || len(s.Queues) != 2 {
		t.Errorf("%+v", s)
	}
	task := info.Tasks["whole.add"]
	if !task.AcksLate || !task.AcksOnFailureOrTimeout || !task.AcksTimedOut() {
		t.Errorf("%+v", task)
	}
	if info.Celery == "" || info.Python == "" || info.RSS == 0 || info.Conf["result_expires"] == nil {
		t.Errorf("%+v", info)
	}
}

// What Celery says of a queue that it may not make up.
func TestAQueueThatTheApplicationDoesNotHave(t *testing.T) {
	options := Options{Interpreter: interpreter(t, latest), App: "whole", Dir: "testdata/apps", Queues: []string{"lost"}, Conf: map[string]any{"task_create_missing_queues": false}}
	_, err := Start(t.Context(), options)
	if err == nil || !strings.Contains(err.Error(), "queue 'lost' isn't defined in the `task_queues` setting. If you want to automatically declare unknown queues") {
		t.Error(err)
	}
}

func TestOverridesReachNamespacedSettings(t *testing.T) {
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			app := start(t, Options{Interpreter: interpreter(t, release), App: "namespaced", Dir: "testdata/apps",
				Conf:     map[string]any{"broker_url": "redis://z/0", "task_acks_late": true, "result_expires": 60},
				Defaults: map[string]any{"result_backend": "redis://unused/0", "task_default_queue": "unused"}})
			if s := app.Info().Settings; s.BrokerURL != "redis://z/0" || s.ResultBackend != "redis://a/1" || s.ResultExpires != 60 {
				t.Errorf("%+v", s)
			}
			if !app.Info().Tasks["namespaced.task"].AcksLate {
				t.Error("the task does not know")
			}
		})
	}
}

func TestGivenSettingsAreKnownHoweverTheyAreSpelled(t *testing.T) {
	for _, release := range releases {
		for _, name := range []string{"namespaced", "oldstyle"} {
			t.Run(release+"/"+name, func(t *testing.T) {
				info := start(t, Options{Interpreter: interpreter(t, release), App: name, Dir: "testdata/apps"}).Info()
				if want := []string{"broker_url", "result_backend", "result_expires", "task_acks_late"}; !slices.Equal(info.Changed, want) {
					t.Errorf("changed: %q, want %q", info.Changed, want)
				}
				if info.Conf["result_expires"] != 10.0 || info.Conf["task_acks_late"] != false {
					t.Errorf("%v, %v", info.Conf["result_expires"], info.Conf["task_acks_late"])
				}
			})
		}
	}
}

func TestEarlySoftLimitCounts(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	job := jobOf(client.one(t, `size.delay("x" * (40 << 20), 30)`)) // longer to be read than the limit, as a rule
	job.Soft, job.Hard = time.Nanosecond, time.Hour
	out, err := executor.Execute(context.Background(), job)
	if err != nil || out.State != celery.StateFailure || !strings.Contains(out.Exception, "SoftTimeLimitExceeded") || len(out.Results) != 1 {
		t.Errorf("%s %s %v", out.State, out.Exception, err)
	}
}

func TestNoDescriptorsAreLeft(t *testing.T) {
	app, _ := whole(t, nil)
	count := func(pid int) int {
		files, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
		if err != nil {
			t.Skip(err)
		}
		return len(files)
	}
	cycle := func() {
		executor, err := app.Start(context.Background(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := executor.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	ours, its := count(os.Getpid()), count(app.PID())
	for range 20 {
		cycle()
	}
	if a, b := count(os.Getpid()), count(app.PID()); a > ours || b > its {
		t.Errorf("descriptors: ours %d, then %d; the zygote's %d, then %d", ours, a, its, b)
	}
}
