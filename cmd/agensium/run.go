package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/agensium/agensium/pool/child"
)

// Exit statuses: a restart may cure 1, only a person can cure 2.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// cli is the command line. Celery's global options stand here so that they are taken before and after the command.
type cli struct {
	App           string           `short:"A" placeholder:"MODULE:APP" help:"The Celery application, as with celery -A."`
	Broker        string           `short:"b" placeholder:"URL" help:"URL of the broker."`
	ResultBackend string           `name:"result-backend" placeholder:"URL" help:"URL of the result store."`
	Config        string           `placeholder:"FILE" help:"Configuration file. Default: ./agensium.toml if there is one, else $$AGENSIUM_CONFIG."`
	Workdir       string           `placeholder:"DIR" help:"Change to this directory first."`
	NoColor       bool             `short:"C" name:"no-color" help:"Accepted: agensium prints no colours."`
	Quiet         bool             `short:"q" help:"No banner."`
	Loader        string           `placeholder:"LOADER" help:"Celery's loader class."`
	SkipChecks    bool             `name:"skip-checks" help:"Django's checks are not run at the start."`
	Version       kong.VersionFlag `help:"Print the version and exit."`

	Worker  workerCommand  `cmd:"" help:"Run tasks, as celery worker does."`
	Send    sendCommand    `cmd:"" help:"Send a task, and wait for its result if asked."`
	Check   checkCommand   `cmd:"" help:"Say whether Redis and the application are fit, step by step."`
	Init    initCommand    `cmd:"" help:"Write a commented agensium.toml, .env.example and, if asked, the files of a deployment. Overwrites nothing."`
	ConfigC configCommands `cmd:"" name:"config" help:"Check and show the settings."`
	Status  statusCommand  `cmd:"" help:"Show the node that runs here, its slots and queues, and the other nodes."`
	Reload  reloadCommand  `cmd:"" help:"Have the node that runs here read its settings again and import the application anew, and wait how it goes."`
	Dead    deadCommands   `cmd:"" help:"List, show, retry and drop the messages that were given up."`
	Health  healthCommand  `cmd:"" help:"Tell whether the node that runs here is healthy: exit status 0 or 1, and one line."`
}

// call is what every command gets.
type call struct {
	ctx context.Context
	std stdio
	cli *cli
}

// hinted is an error with what to do about it.
type hinted struct {
	err    error
	hint   string
	status int
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// usage is an error that only a person can cure.
func usage(err error, hint string) error { return &hinted{err: err, hint: hint, status: exitUsage} }

// run is the whole program but for the process around it, so that tests can start two side by side.
func run(ctx context.Context, args []string, std stdio) (status int) {
	var c cli
	exited := false
	parser, err := kong.New(&c,
		kong.Name("agensium"),
		kong.Description("Takes the place of celery worker on Redis: claims messages, runs them in warm Python children, loses nothing."),
		kong.Writers(std.out, std.err),
		kong.Exit(func(code int) { exited, status = true, code }),
		kong.Vars{"version": version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(std.err, "agensium:", err)
		return exitUsage
	}
	parsed, err := parser.Parse(args)
	if exited {
		return status
	}
	if err == nil && c.Workdir != "" {
		err = os.Chdir(c.Workdir)
	}
	if err != nil {
		fmt.Fprintln(std.err, "agensium:", err)
		fmt.Fprintln(std.err, "hint: agensium --help, or agensium worker --help")
		return exitUsage
	}
	return report(std.err, parsed.Run(&call{ctx: ctx, std: std, cli: &c}))
}

// report prints an error and its hint and returns the exit status that it stands for.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	w = child.PrintableWriter(w) // what an application says of itself may hold anything
	fmt.Fprintln(w, "agensium:", err)
	var h *hinted
	if !errors.As(err, &h) {
		return exitError
	}
	if h.hint != "" {
		fmt.Fprintln(w, "hint:", h.hint)
	}
	return h.status
}

// release is what `make build` says this is; empty in a binary that was built another way.
var release string

// version is the release, else what Go wrote into the binary: that of the module where it was installed as one.
func version() string {
	v := release
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
	}
	return "agensium " + cmp.Or(v, "(devel)")
}
