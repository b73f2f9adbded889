package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/agensium/agensium/supervisor/config"
)

type configCommands struct {
	Check configCheck `cmd:"" help:"Say what is wrong with the settings."`
	Show  configShow  `cmd:"" help:"Print every setting and where it came from."`

	Push     configPush     `cmd:"" help:"Check settings, show what they change, and store them in Redis: all nodes take them at once."`
	Pull     configPull     `cmd:"" help:"Print the settings that are in Redis."`
	History  configHistory  `cmd:"" help:"List the versions of the settings in Redis."`
	Rollback configRollback `cmd:"" help:"Store an earlier version again."`
}

type configCheck struct{}

// Run is called by kong.
func (configCheck) Run(c *call) error {
	loaded, err := c.load(c.global())
	if err != nil {
		return err
	}
	for _, note := range loaded.Notes {
		fmt.Fprintln(c.std.out, "note:", note.Text)
	}
	from := loaded.Path
	if from == "" {
		from = "no file, environment and defaults"
	}
	fmt.Fprintln(c.std.out, "settings are fine:", from)
	return nil
}

type configShow struct {
	Local bool `help:"Neither import the application nor look into Redis."`
}

// Run is called by kong.
func (k configShow) Run(c *call) error {
	effective, err := k.effective(c)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.std.out, 0, 0, 2, ' ', 0)
	for _, s := range effective.Settings() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, s.Value, s.Origin)
	}
	return w.Flush()
}

// effective is what a node would work with here: the application and the settings in Redis included, as far as they can be reached.
func (k configShow) effective(c *call) (*config.Effective, error) {
	loaded, err := c.load(c.global())
	if err != nil {
		return nil, err
	}
	if k.Local {
		return &loaded.Effective, nil
	}
	p, err := c.place()
	switch {
	case p == nil:
		fmt.Fprintln(c.std.err, "note: without the application and the settings in Redis:", err)
		return &loaded.Effective, nil
	case err != nil:
		fmt.Fprintln(c.std.err, "note: without the settings in Redis:", err)
		return p.resolve(loaded), nil
	}
	defer p.finished()
	with, err := p.with(p.latest)
	if err != nil {
		fmt.Fprintln(c.std.err, "note: without the settings in Redis, nodes do not take them:", err)
		with = loaded
	}
	return p.resolve(with), nil
}

func (c *call) global() *config.Flags {
	return &config.Flags{App: c.cli.App, Broker: c.cli.Broker, ResultBackend: c.cli.ResultBackend}
}
