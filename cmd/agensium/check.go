package main

import (
	"errors"
	"fmt"

	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/check"
)

type checkCommand struct {
	JSON bool `name:"json" help:"Print one JSON document: ok, and a list of steps."`
}

// Run is called by kong.
func (k *checkCommand) Run(c *call) error {
	loaded, err := c.load(c.global())
	if err != nil {
		return err
	}
	app := loaded.Config.Python.App
	if app != "" && !k.JSON {
		fmt.Fprintf(c.std.err, "importing %s …\n", app)
	}
	found, err := supervisor.Inspect(c.ctx, supervisor.Options{Loaded: loaded, Version: version()})
	if err != nil {
		return setup(err)
	}
	subject := check.Subject{Settings: found.Effective, Broker: found.Broker, Results: found.Results}
	subject.Nothing = app == "" && len(found.Effective.Config.Commands) == 0
	if app != "" {
		subject.App = &check.Application{Name: app, Interpreter: found.Interpreter, Why: found.Why, Info: found.Info, Err: found.StartError}
	}
	if !k.JSON {
		subject.Each = func(r check.Result) { r.Write(c.std.out) }
	}
	report := check.Run(c.ctx, subject)
	if k.JSON {
		if err := report.WriteJSON(c.std.out); err != nil {
			return err
		}
	}
	if n := report.Count(check.Failed); n > 0 {
		return fmt.Errorf("not fit: %d of %d steps failed", n, len(report))
	}
	if !k.JSON {
		switch n := report.Count(check.Warning); n {
		case 0:
			fmt.Fprintln(c.std.out, "fit")
		case 1:
			fmt.Fprintln(c.std.out, "fit, 1 warning")
		default:
			fmt.Fprintf(c.std.out, "fit, %d warnings\n", n)
		}
	}
	return nil
}

// setup makes an error of the supervisor's one with a hint and the status of bad usage, if a restart would not cure it.
func setup(err error) error {
	var bad *supervisor.SetupError
	if errors.As(err, &bad) {
		return usage(bad, bad.Hint)
	}
	return err
}
