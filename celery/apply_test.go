package celery_test

import (
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery"
)

// sent decodes the messages of a plan.
func sent(t *testing.T, s *celery.Sender, sig *celery.Signature) (*celery.Plan, []*celery.Task) {
	t.Helper()
	plan, err := s.Apply(sig, nil, celery.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tasks []*celery.Task
	for _, m := range plan.Messages {
		task, err := celery.Decode(m.Raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	return plan, tasks
}

func TestWhoDoesNotKnowATaskLeavesItsResultToIt(t *testing.T) {
	s := celery.NewSender()
	s.Tasks = celery.NewMux()
	celery.Handle(s.Tasks, "t.known", func() {})
	celery.Handle(s.Tasks, "t.quiet", func() {}, celery.IgnoreResult())
	ignored := celery.Options{IgnoreResult: true}
	cases := map[string]struct {
		sig  *celery.Signature
		want string
	}{
		"unknown":        {celery.S("t.x"), `"ignore_result": null`},
		"unknown, asked": {celery.S("t.x").With(ignored), `"ignore_result": true`},
		"known":          {celery.S("t.known"), `"ignore_result": false`},
		"known, asked":   {celery.S("t.known").With(ignored), `"ignore_result": true`},
		"known, quiet":   {celery.S("t.quiet"), `"ignore_result": true`},
	}
	for name, c := range cases {
		if plan, _ := sent(t, s, c.sig); !strings.Contains(string(plan.Messages[0].Raw), c.want) {
			t.Errorf("%s: not %s in %s", name, c.want, plan.Messages[0].Raw)
		}
	}
}

func TestResultsThatNobodyStoresAreKnown(t *testing.T) {
	ignored := celery.Options{IgnoreResult: true}
	x, quiet := celery.S("t.x"), celery.S("t.quiet")
	sender := celery.NewSender()
	sender.Tasks = celery.NewMux()
	celery.Handle(sender.Tasks, "t.quiet", func() {}, celery.IgnoreResult())
	cases := map[string]struct {
		sig  *celery.Signature
		want bool
	}{
		"by its handler":  {quiet, true},
		"the last so":     {celery.Chain(x, quiet), true},
		"task":            {x.With(ignored), true},
		"stored":          {x, false},
		"end of a chain":  {celery.Chain(x, x.With(ignored)), true},
		"its begin":       {celery.Chain(x, x).With(ignored), false},
		"body of a chord": {celery.Chord([]*celery.Signature{x, x}, x.With(ignored)), true},
	}
	for name, c := range cases {
		if plan, _ := sent(t, sender, c.sig); plan.Result.Ignored != c.want {
			t.Errorf("%s: ignored %t, want %t", name, plan.Result.Ignored, c.want)
		}
	}
	plan, _ := sent(t, celery.NewSender(), celery.Group(x, x.With(ignored)))
	if plan.Result.Children[0].Ignored || !plan.Result.Children[1].Ignored {
		t.Error("of a group, the second alone")
	}
	plan, _ = sent(t, celery.NewSender(), celery.Group(x, x).With(ignored))
	if !plan.Result.Children[0].Ignored || !plan.Result.Children[1].Ignored {
		t.Error("of a group that is sent so, all")
	}
}

func TestWhatATaskSendsHasItsPriorityIfItIsToInheritIt(t *testing.T) {
	x := celery.S("t.x")
	for inherit, want := range map[bool]int{true: 6, false: 0} {
		s := celery.NewSender()
		s.InheritPriority = inherit
		sig := celery.Chord([]*celery.Signature{celery.Chain(x, x)}, x).With(celery.Options{Priority: 6})
		_, tasks := sent(t, s, sig)
		body, err := celery.Body(tasks[0].Raw)
		if err != nil {
			t.Fatal(err)
		}
		r, err := celery.Open(tasks[0], body, "celery", nil)
		if err != nil {
			t.Fatal(err)
		}
		plans, err := s.FollowUps(r, []byte("1"))
		if err != nil || len(plans) != 1 || plans[0].Messages[0].Priority != want {
			t.Errorf("inherit %t: the next step: %+v, %v", inherit, plans, err)
		}
		plan, err := s.Apply(celery.S("t.child"), nil, celery.Options{}, r)
		if err != nil || plan.Messages[0].Priority != want {
			t.Errorf("inherit %t: a child: %+v, %v", inherit, plan, err)
		}
		again, err := s.Retry(r, 0, 3)
		if err != nil || again.Messages[0].Priority != 6 {
			t.Errorf("inherit %t: a retry: %+v, %v", inherit, again, err)
		}
	}
}

func TestAChordsOptionsHoldForItsBody(t *testing.T) {
	x := celery.S("t.x")
	plan, tasks := sent(t, celery.NewSender(), celery.Chord([]*celery.Signature{x, x}, x).With(celery.Options{
		TaskID: "of-the-body", Headers: map[string]any{"x-tenant": "acme"},
	}))
	if plan.Result.ID != "of-the-body" {
		t.Errorf("its result is %s", plan.Result.ID)
	}
	body, err := celery.Body(tasks[1].Raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"task_id": "of-the-body"`, `"headers": {"x-tenant": "acme"}`} {
		if !strings.Contains(string(body), part) {
			t.Errorf("not %s in %s", part, body)
		}
	}
}

func TestWhatHasExpiredBeforeItIsSentHasNoTimeLeft(t *testing.T) {
	_, tasks := sent(t, celery.NewSender(), celery.S("t.x").With(celery.Options{ExpiresIn: -time.Minute}))
	if !strings.Contains(string(tasks[0].Raw), `"expiration": "0"`) || !tasks[0].Expired(time.Now()) {
		t.Errorf("got %s", tasks[0].Raw)
	}
}

func TestLastLinesAreThoseOfPython(t *testing.T) {
	for want, e := range map[string]celery.Exception{
		"ValueError: boom":                    celery.NewException("ValueError", "boom"),
		"ValueError: ('boom', 42)":            celery.NewException("ValueError", "boom", 42),
		"KeyError: 'k'":                       celery.NewException("KeyError", "k"),
		"billiard.exceptions.WorkerLostError": celery.NewException("billiard.exceptions.WorkerLostError"),
		"subprocess.CalledProcessError: Command 'sh' returned non-zero exit status 3.": celery.NewException("subprocess.CalledProcessError", 3, "sh", nil, "what it said"),
	} {
		if got := e.LastLine(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
