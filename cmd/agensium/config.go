package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/agensium/agensium/supervisor/config"
)

type configCommands struct {
	Check configCheck `cmd:"" help:"Say what is wrong with the settings."`
	Show  configShow  `cmd:"" help:"Print every setting and where it came from."`
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

type configShow struct{}

// Run is called by kong.
func (configShow) Run(c *call) error {
	loaded, err := c.load(c.global())
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.std.out, 0, 0, 2, ' ', 0)
	for _, s := range loaded.Settings() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, s.Value, s.Origin)
	}
	return w.Flush()
}

func (c *call) global() *config.Flags {
	return &config.Flags{App: c.cli.App, Broker: c.cli.Broker, ResultBackend: c.cli.ResultBackend}
}
