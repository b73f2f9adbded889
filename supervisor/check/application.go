package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
)

// Application is what starting the application found.
type Application struct {
	Name        string      // as it was asked for: module:app
	Interpreter string      // path
	Why         string      // how the interpreter was found
	Info        python.Info // valid without Err
	Err         error       // why it could not be started
}

func (r *run) application() {
	a := r.App
	if a.Interpreter != "" {
		r.add(ok("interpreter", "%s (%s)", a.Interpreter, a.Why))
	}
	if a.Err != nil {
		r.add(notStarted(a.Err))
		return
	}
	i := a.Info
	r.add(ok("celery", "Celery %s, kombu %s, redis-py %s on %s %s", i.Celery, i.Kombu, orNone(i.Redis), orNone(i.Implementation), i.Python))
	r.add(ok("import", "%s in %.2f s, %s resident", a.Name, i.Seconds, amount(i.RSS)))
	r.add(tasks(i))
	for _, w := range i.Warnings {
		r.add(warning("settings", "", "%s", w))
	}
	for _, w := range ignored(i) {
		r.add(warning("settings", "", "%s", w))
	}
	for _, n := range r.Settings.Notes {
		r.add(warning("settings", "", "%s", n))
	}
}

func notStarted(err error) Result {
	var start *python.StartError
	if errors.Is(err, config.ErrNoInterpreter) {
		return failed("interpreter", "Set python.interpreter, or make a virtual environment in .venv.", "%v", err)
	}
	if !errors.As(err, &start) {
		return failed("import", "Import the application by hand with this interpreter: python -c \"import module\".", "%v", err)
	}
	lines, hint := start.Notes(), "The traceback shows where the application stopped."
	if n := len(lines); n > 0 {
		if last, found := strings.CutPrefix(lines[n-1], "hint: "); found {
			lines, hint = lines[:n-1], last
		}
	}
	return failed("import", hint, "%s", strings.Join(append([]string{err.Error()}, lines...), "\n"))
}

func tasks(i python.Info) Result {
	var own []string
	for _, name := range slices.Sorted(maps.Keys(i.Tasks)) {
		if !strings.HasPrefix(name, "celery.") {
			own = append(own, name)
		}
	}
	if len(own) == 0 {
		return warning("tasks", "Name the modules with tasks in the application's `include` or in python.include, or call autodiscover_tasks.", "none but Celery's own")
	}
	const most = 10
	text := strings.Join(own[:min(most, len(own))], ", ")
	if len(own) > most {
		text += fmt.Sprintf(" and %d more", len(own)-most)
	}
	return ok("tasks", "%d: %s", len(own), text)
}

// unused are the settings of Celery that somebody might rely on and that mean nothing here, with the reason. What a worker warns
// about at its start too is among the warnings of the application.
var unused = map[string]string{
	"task_always_eager":                                   "is on: clients run their tasks themselves, and nothing comes here",
	"worker_state_db":                                     "is not used: revoked tasks are kept in Redis",
	"worker_direct":                                       "is not supported: there is no queue of one worker's own",
	"worker_eta_task_limit":                               "is not used: tasks with an ETA wait in Redis and take no memory",
	"worker_lost_wait":                                    "is not used: the end of a process is seen at once",
	"worker_proc_alive_timeout":                           "is not used: python.start_timeout counts",
	"worker_soft_shutdown_timeout":                        "is not used: drain.timeout counts",
	"worker_pool_putlocks":                                "is not used: a message is taken only when a slot is free for it",
	"worker_detect_quorum_queues":                         "is not used: they are RabbitMQ's",
	"worker_enable_prefetch_count_reduction":              "is not used: nothing is prefetched",
	"worker_cancel_long_running_tasks_on_connection_loss": "is not used: a task runs on while the connection is away, and its claim is renewed",
}

// ignored are settings that do nothing here, besides those that the application's own warnings name.
func ignored(i python.Info) []string {
	var all []string
	for _, name := range i.Changed {
		value := i.Conf[name]
		if reason, found := unused[name]; found && value != nil && value != false && value != "" {
			all = append(all, name+" "+reason)
		}
	}
	return all
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
