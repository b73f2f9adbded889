package check

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
)

func checkedApp(t *testing.T, a *Application) Report {
	t.Helper()
	return checkedWith(t, Subject{App: a})
}

func TestApplication(t *testing.T) {
	info := python.Info{
		Python: "3.12.1", Implementation: "CPython", Celery: "5.5.3", Kombu: "5.5.4", Redis: "5.2.1", Seconds: 1.234, RSS: 64 << 20,
		Tasks: map[string]python.TaskInfo{"shop.pay": {}, "shop.ship": {}, "celery.backend_cleanup": {}},
	}
	r := checkedApp(t, &Application{Name: "shop:app", Interpreter: "/venv/bin/python", Why: "VIRTUAL_ENV", Info: info})
	r.expect(t, "interpreter", OK, "", "/venv/bin/python (VIRTUAL_ENV)")
	r.expect(t, "celery", OK, "", "Celery 5.5.3", "kombu 5.5.4", "redis-py 5.2.1", "CPython 3.12.1")
	r.expect(t, "import", OK, "", "shop:app in 1.23 s, 64.0 MiB")
	r.expect(t, "tasks", OK, "", "2: shop.pay, shop.ship")
}

func TestApplicationWithoutTasks(t *testing.T) {
	checkedApp(t, &Application{Name: "shop:app"}).expect(t, "tasks", Warning, "", "autodiscover_tasks")
}

func TestManyTasksAreCutShort(t *testing.T) {
	info := python.Info{Tasks: map[string]python.TaskInfo{}}
	for i := range 30 {
		info.Tasks[fmt.Sprintf("shop.t%02d", i)] = python.TaskInfo{}
	}
	checkedApp(t, &Application{Info: info}).expect(t, "tasks", OK, "", "30: shop.t00", "shop.t09 and 20 more")
}

func TestSettingsThatAreNotHonoured(t *testing.T) {
	info := python.Info{
		Warnings: []string{"threads run after the import"},
		Changed:  []string{"task_always_eager", "worker_direct", "worker_state_db"},
		Conf:     map[string]any{"task_always_eager": true, "worker_direct": false, "worker_state_db": "/var/db"},
	}
	s := settings(t)
	s.Notes = []config.Note{{Key: "drain.timeout", Text: "is 0"}}
	r := checkedWith(t, Subject{Settings: s, App: &Application{Info: info}})
	var all []string
	for _, result := range r {
		if result.Name == "settings" {
			all = append(all, result.Text)
		}
	}
	text := strings.Join(all, "\n")
	for _, part := range []string{"threads run", "task_always_eager is on", "worker_state_db is not used", "drain.timeout is 0"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
	if strings.Contains(text, "worker_direct") {
		t.Error("worker_direct is off, which is what it means here")
	}
}

func TestApplicationDoesNotStart(t *testing.T) {
	start := &python.StartError{Doing: "import shop:app", Type: "ModuleNotFoundError", Message: "No module named 'shop'", Module: "shop", Traceback: "tracing\n"}
	r := checkedApp(t, &Application{Interpreter: "/venv/bin/python", Why: "VIRTUAL_ENV", Err: start})
	r.expect(t, "import", Failed, "", "No module named 'shop'", "tracing", `no module "shop" for this interpreter`)
}

func TestNoInterpreter(t *testing.T) {
	r := checkedApp(t, &Application{Err: fmt.Errorf("%w: python3 is not on PATH", config.ErrNoInterpreter)})
	r.expect(t, "interpreter", Failed, "", "not on PATH", ".venv")
}

func TestUnexplainedStartError(t *testing.T) {
	r := checkedApp(t, &Application{Err: errors.New("fork: resource temporarily unavailable")})
	r.expect(t, "import", Failed, "", "fork", "by hand")
}
