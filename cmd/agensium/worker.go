package main

import (
	"errors"

	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
)

// workerCommand has every option of `celery worker`. What each means here, and which are refused, decides package config.
type workerCommand struct {
	Hostname          string   `short:"n" placeholder:"NAME" help:"Node name; %h host, %n its first part, %d its domain. Default celery@%h."`
	Queues            []string `short:"Q" placeholder:"A,B" help:"Queues to consume. Default: the application's."`
	ExcludeQueues     []string `short:"X" placeholder:"A,B" help:"Queues of the application not to consume."`
	Concurrency       string   `short:"c" placeholder:"N" help:"Most tasks at a time. Default: $$CELERY_WORKER_CONCURRENCY, the application's, else 4."`
	Autoscale         string   `placeholder:"MAX,MIN" help:"Scale between these numbers of children."`
	Loglevel          string   `short:"l" placeholder:"LEVEL" help:"debug, info, warning, error."`
	Logfile           string   `short:"f" placeholder:"FILE" help:"Log to this file instead of standard error."`
	LogFormat         string   `placeholder:"FORMAT" help:"text or json."`
	TaskEvents        bool     `short:"E" aliases:"events" help:"Send events for Flower and other monitors."`
	TimeLimit         *float64 `placeholder:"S" help:"Hard time limit of a task, seconds."`
	SoftTimeLimit     *float64 `placeholder:"S" help:"Soft time limit of a task, seconds."`
	MaxTasksPerChild  *int     `placeholder:"N" help:"Replace a child after this many tasks."`
	MaxMemoryPerChild *int     `placeholder:"KIB" help:"Replace a child that holds more resident memory than this."`
	PoolStartMethod   string   `placeholder:"METHOD" help:"fork (from a warm parent) or spawn (each child imports the application itself)."`
	Include           []string `short:"I" placeholder:"MODULES" help:"Further modules to import."`

	Pool               string   `short:"P" placeholder:"POOL" help:"prefork is the only one."`
	PrefetchMultiplier *int     `placeholder:"N" help:"Accepted: a message is taken only when a child is free for it."`
	DisablePrefetch    bool     `help:"Accepted: nothing is ever prefetched."`
	Optimization       string   `short:"O" placeholder:"fair" help:"Accepted: default and fair are the same here."`
	WithoutGossip      bool     `help:"Accepted: there is no gossip."`
	WithoutMingle      bool     `help:"Accepted: there is no mingle."`
	WithoutHeartbeat   bool     `help:"Send no heartbeat events."`
	HeartbeatInterval  *float64 `placeholder:"S" help:"Seconds between heartbeat events."`
	Statedb            string   `short:"S" placeholder:"FILE" help:"Accepted: revoked tasks are kept in Redis."`
	Pidfile            string   `placeholder:"FILE" help:"Accepted: no file is written."`
	Executable         string   `placeholder:"FILE" help:"Accepted: see python.interpreter."`

	Beat             bool     `short:"B" help:"Refused: run celery beat beside it."`
	ScheduleFilename string   `short:"s" aliases:"schedule" placeholder:"FILE" hidden:""`
	Scheduler        string   `placeholder:"CLASS" hidden:""`
	Detach           bool     `short:"D" help:"Refused: let systemd or a container run it."`
	Purge            bool     `aliases:"discard" help:"Refused: use celery purge."`
	UID              string   `name:"uid" hidden:""`
	GID              string   `name:"gid" hidden:""`
	Umask            string   `hidden:""`
	Settings         []string `arg:"" optional:"" passthrough:"partial" hidden:""`
}

// Run is called by kong.
func (w *workerCommand) Run(c *call) error {
	loaded, err := c.load(w.flags(c.cli))
	if err != nil {
		return err
	}
	return setup(supervisor.Run(c.ctx, supervisor.Options{
		Loaded: loaded, Stderr: c.std.err, Quiet: c.cli.Quiet, Version: version(),
	}))
}

func (w *workerCommand) flags(c *cli) *config.Flags {
	f := &config.Flags{
		App: c.App, Broker: c.Broker, ResultBackend: c.ResultBackend, SkipChecks: c.SkipChecks,
		Hostname: w.Hostname, Queues: w.Queues, ExcludeQueues: w.ExcludeQueues, Concurrency: w.Concurrency, Autoscale: w.Autoscale,
		LogLevel: w.Loglevel, LogFile: w.Logfile, LogFormat: w.LogFormat, TimeLimit: w.TimeLimit, SoftTimeLimit: w.SoftTimeLimit,
		MaxTasksPerChild: w.MaxTasksPerChild, MaxMemoryPerChild: w.MaxMemoryPerChild, PoolStartMethod: w.PoolStartMethod,
		Include: w.Include, Pool: w.Pool, PrefetchMultiplier: w.PrefetchMultiplier, DisablePrefetch: w.DisablePrefetch,
		Optimization: w.Optimization, WithoutGossip: w.WithoutGossip, WithoutMingle: w.WithoutMingle,
		WithoutHeartbeat: w.WithoutHeartbeat, HeartbeatInterval: w.HeartbeatInterval, StateDB: w.Statedb, PidFile: w.Pidfile,
		Executable: w.Executable, Loader: c.Loader, Beat: w.Beat, Schedule: w.ScheduleFilename, Scheduler: w.Scheduler,
		Detach: w.Detach, Purge: w.Purge, UID: w.UID, GID: w.GID, Umask: w.Umask, Settings: w.Settings,
	}
	if w.TaskEvents {
		f.TaskEvents = &w.TaskEvents
	}
	return f
}

func (c *call) input(flags *config.Flags) config.Input {
	return config.Input{Path: c.cli.Config, Flags: flags}
}

// load reads the settings; all that is wrong with them is one error, a line each, with what to do about it.
func (c *call) load(flags *config.Flags) (*config.Loaded, error) {
	return loadAll(c.input(flags))
}

func loadAll(in config.Input) (*config.Loaded, error) {
	loaded, err := config.Load(in)
	var problems config.Problems
	if errors.As(err, &problems) {
		return loaded, usage(problems, "")
	}
	return loaded, err
}
