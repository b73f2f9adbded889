package supervisor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/command"
	"github.com/agensium/agensium/pool/handler"
	"github.com/agensium/agensium/pool/mixed"
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
)

// goTasks runs the tasks that need no Python: handlers of the program's own and commands of the configuration. What becomes
// of them is recorded here. Its connections are opened when a task needs one: a chord, a chain, a retry, STARTED.
type goTasks struct {
	routes  []mixed.Route
	clients []*redis.Client
}

// withoutPython tells whether there are tasks to run and no application to import.
func (s *Supervisor) withoutPython(c *config.Config) bool {
	return c.Python.App == "" && (s.o.Handlers != nil || len(c.Commands) > 0)
}

// recordsInGo tells whether results are stored by this process for tasks of its own, or there is nobody else who could.
func (s *Supervisor) recordsInGo(c *config.Config) bool {
	return c.Results.URL != "" && (s.o.Handlers != nil || len(c.Commands) > 0 || c.Python.App == "")
}

// fill gives a generation what fills the slots: the application, or that and what runs in Go, by the name of the task.
func (s *Supervisor) fill(g *generation, now *settings, target, results *redisconn.Target) error {
	c := now.Config
	if s.o.Handlers == nil && len(c.Commands) == 0 {
		g.factory = g.app
		return nil
	}
	if g.app != nil && now.info.Settings.ResultBackend != "" && !s.recordsInGo(c) {
		s.log.Warn("results of Go handlers and commands are not stored", "reason", "results.url is not set")
	}
	if name, _ := now.info.Conf["result_serializer"].(string); name != "" && name != "json" && s.recordsInGo(c) {
		return &SetupError{Err: fmt.Errorf("results of Go handlers and commands are JSON, which an application with result_serializer = %q does not read", name),
			Hint: `set result_serializer = "json" in the application, or leave the handlers and [[command]] out`}
	}
	g.goTasks = &goTasks{}
	recorder, err := s.recorder(g.goTasks, now, target, results)
	if err != nil {
		return err
	}
	accept := now.info.Settings.AcceptContent
	if len(accept) == 0 || now.Origins.Set("tasks.accept_content") {
		accept = c.Tasks.AcceptContent
	}
	if s.o.Handlers != nil {
		handlers, err := handler.New(handler.Options{Mux: s.o.Handlers, Recorder: recorder, Node: s.node, Accept: accept,
			Started: now.says("task_track_started"), Ignore: now.says("task_ignore_result"), Overdue: &s.overdue, Log: s.log.Named("handler")})
		if err != nil {
			return err
		}
		g.goTasks.add("go", handlers, func(task string) bool { return s.o.Handlers.Lookup(task) != nil })
	}
	if len(c.Commands) > 0 {
		commands, err := command.New(command.Options{Commands: specs(now), Recorder: recorder, Node: s.node, Accept: accept, Log: s.log.Named("command"),
			OOMScoreAdj: func() int { return s.current.Load().Config.Pool.OOMScoreAdj }})
		if err != nil {
			return &SetupError{Err: err, Hint: "see [[command]] in the configuration"}
		}
		for i := range commands.Commands {
			if _, err := commands.Commands[i].Program(); err != nil {
				s.log.Warn("command cannot run", "task", commands.Commands[i].Task, "error", err, "next", "its tasks fail until the program is there")
			}
		}
		g.goTasks.add("command", commands, func(task string) bool { return commands.Lookup(task) != nil })
	}
	switch {
	case g.app != nil:
		g.factory = &mixed.Factory{Routes: g.goTasks.routes, Default: g.app}
	case len(g.goTasks.routes) == 1:
		g.factory = g.goTasks.routes[0].Factory
	default:
		g.factory = &mixed.Factory{Routes: g.goTasks.routes}
	}
	return nil
}

func (g *goTasks) add(name string, f pool.Factory, knows func(string) bool) {
	g.routes = append(g.routes, mixed.Route{Name: name, Knows: knows, Factory: f})
}

func (g *goTasks) client(t *redisconn.Target, name string) *redis.Client {
	c := t.Client(redisconn.ClientOptions{Name: name, PoolSize: 4})
	g.clients = append(g.clients, c)
	return c
}

func (g *goTasks) close() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, c := range g.clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// recorder stores as the application's own backend would, and sends as its own producer would.
func (s *Supervisor) recorder(g *goTasks, now *settings, target, results *redisconn.Target) (*backend.Backend, error) {
	c, info := now.Config, now.info
	messages := g.client(target, "tasks")
	stored := messages
	if !results.Same(target) {
		stored = g.client(results, "tasks-results")
	}
	sender := senderOf(info)
	sender.Tasks = s.o.Handlers
	ordered, said := info.Conf["result_chord_ordered"].(bool)
	return backend.New(backend.Options{
		Results: stored, Sender: sender, Discard: !s.recordsInGo(c), ErrorsAnyway: now.says("task_store_errors_even_if_ignored"), Expires: c.Results.Expires,
		Publisher:      client.NewProducer(messages, producerOptions(c)),
		Documents:      celery.Documents{KeyPrefix: resultPrefix(info), Extended: now.says("result_extended"), Zone: zoneOf(info)},
		ChordUnordered: said && !ordered, Log: s.log.Named("backend"),
	})
}

// zoneOf is the zone in which the application writes times; nil is UTC.
func zoneOf(info python.Info) *time.Location {
	if info.Settings.EnableUTC || info.Settings.Timezone == "" {
		return nil
	}
	zone, err := time.LoadLocation(info.Settings.Timezone)
	if err != nil {
		return nil
	}
	return zone
}

// goOptions adds the options of tasks that need no Python. Where the application has a task of the same name, this one runs.
func (s *Supervisor) goOptions(now *settings) {
	c := now.Config
	if s.o.Handlers != nil {
		for _, name := range s.o.Handlers.Names() {
			o := s.o.Handlers.Lookup(name).Options
			o.AcksLate = o.AcksLate || c.Tasks.AcksLate
			o.AcksOnFailureOrTimeout = c.Tasks.AcksOnFailureOrTimeout
			o.RejectOnWorkerLost = o.RejectOnWorkerLost || c.Tasks.RejectOnWorkerLost
			o.SendEvents = true
			now.tasks[name] = override(c.Tasks, name, o)
		}
	}
	for _, cmd := range c.Commands {
		o := commandOptions(c.Tasks, cmd)
		o.TrackStarted, o.IgnoreResult = now.says("task_track_started"), o.IgnoreResult || now.says("task_ignore_result")
		now.tasks[cmd.Task] = override(c.Tasks, cmd.Task, o)
	}
}

// says tells what the application says of all its tasks.
func (n *settings) says(name string) bool {
	b, _ := n.info.Conf[name].(bool)
	return b
}

func commandOptions(t config.Tasks, c config.Command) celery.TaskOptions {
	o := celery.TaskOptions{
		AcksLate: t.AcksLate, AcksOnFailureOrTimeout: t.AcksOnFailureOrTimeout, RejectOnWorkerLost: t.RejectOnWorkerLost,
		IgnoreResult: c.IgnoreResult, SendEvents: true,
	}
	put(&o.AcksLate, c.AcksLate)
	put(&o.TimeLimit, c.TimeLimit)
	put(&o.SoftTimeLimit, c.SoftTimeLimit)
	if c.RateLimit != nil {
		o.RateLimit = c.RateLimit.Limit
	}
	return o
}

// specs are the commands of the configuration.
func specs(now *settings) []command.Spec {
	all := make([]command.Spec, 0, len(now.Config.Commands))
	for _, c := range now.Config.Commands {
		all = append(all, command.Spec{
			Task: c.Task, Run: c.Run, Input: c.Input, Result: c.Result, Directory: c.Directory, Environment: c.Environment,
			MaxOutput: int64(c.MaxOutput), RetryOn: c.RetryOn, RetryAfter: c.RetryAfter, MaxRetries: c.MaxRetries, Options: now.tasks[c.Task],
		})
	}
	return all
}

// served says in words what runs besides the application.
func (s *Supervisor) served(c *config.Config) string {
	var all []string
	if s.o.Handlers != nil {
		all = append(all, fmt.Sprintf("handlers: %d", len(s.o.Handlers.Names())))
	}
	if n := len(c.Commands); n > 0 {
		all = append(all, fmt.Sprintf("commands: %d", n))
	}
	return strings.Join(all, ", ")
}
