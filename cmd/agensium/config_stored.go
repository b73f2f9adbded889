package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
	"github.com/agensium/agensium/supervisor/stored"
)

// The settings in Redis, for nodes whose files nobody can edit.

type configPush struct {
	File   string `arg:"" help:"TOML file; - is standard input."`
	DryRun bool   `help:"Only show what would change."`
}

type configPull struct{}

type configHistory struct{}

type configRollback struct {
	Version int `arg:"" help:"Version to go back to; 0 for none."`
}

// place is where the settings in Redis are, and what is to be known to compare them.
type place struct {
	*call
	store    *stored.Store
	loaded   *config.Loaded
	resolve  func(*config.Loaded) *config.Effective
	latest   *stored.Version // nil: none
	finished func() error
}

// place finds the Redis as a worker would: what the application says of its broker counts, too. Beside an error there may be a
// place all the same, with which settings can be resolved and nothing else.
func (c *call) place() (*place, error) {
	loaded, err := c.load(c.global())
	if err != nil {
		return nil, err
	}
	found, err := supervisor.Inspect(c.ctx, supervisor.Options{Loaded: loaded, Version: version()})
	if err != nil {
		return nil, setup(err)
	}
	if found.StartError != nil {
		if !loaded.Origins.Set("broker.url") {
			return nil, fmt.Errorf("find the broker: %w", found.StartError)
		}
		fmt.Fprintln(c.std.err, "note: the application does not start, its settings are left out:", found.StartError)
	}
	if found.Broker == nil {
		return nil, usage(errors.New("the embedded broker keeps no settings"), "set broker.url")
	}
	client := found.Broker.Client(redisconn.ClientOptions{Name: "settings", PoolSize: 1})
	p := &place{call: c, store: stored.New(client, found.Config.Broker.KeyPrefix), loaded: loaded, resolve: found.Resolve, finished: client.Close}
	if p.latest, err = p.store.Latest(c.ctx); err != nil {
		_ = client.Close()
		return p, fmt.Errorf("%s: %w", found.Broker, err)
	}
	return p, nil
}

// with loads the settings as a node would with these in Redis.
func (p *place) with(v *stored.Version) (*config.Loaded, error) {
	in := p.loaded.Input()
	if v != nil {
		in.Stored = &config.Document{Name: "redis", Version: max(1, v.Number), Text: []byte(v.Text)}
	}
	return loadAll(in)
}

func (p *place) number() int {
	if p.latest == nil {
		return 0
	}
	return p.latest.Number
}

// Run is called by kong.
func (k *configPush) Run(c *call) error {
	text, err := k.read(c)
	if err != nil {
		return err
	}
	p, err := c.place()
	if err != nil {
		return err
	}
	defer p.finished()
	name := filepath.Base(k.File)
	if k.File == "-" {
		name = "standard input"
	}
	return p.push(string(text), name, k.DryRun)
}

func (k *configPush) read(c *call) ([]byte, error) {
	if k.File == "-" {
		return io.ReadAll(c.std.in)
	}
	text, err := os.ReadFile(k.File)
	if err != nil {
		return nil, usage(err, "give a TOML file, or - for standard input")
	}
	return text, nil
}

// push checks a text, shows what it changes, and stores it after the version that it was compared with.
func (p *place) push(text, note string, dry bool) error {
	next := stored.Version{Number: p.number() + 1, Time: time.Now().UTC().Truncate(time.Second), By: whoami(), Note: note, Text: text}
	before, err := p.with(p.latest)
	if err != nil {
		before = p.loaded // what is stored is bad: nodes work without it
	}
	after, err := p.with(&next)
	var problems config.Problems
	if errors.As(err, &problems) { // it is not that version before it is stored
		for i, problem := range problems {
			if problem.File == fmt.Sprintf("redis version %d", next.Number) {
				problems[i].File = note
			}
		}
	}
	if err != nil {
		return err
	}
	if err := supervisor.CheckStored(&after.Effective); err != nil {
		return usage(err, "set it in the file of each node, or in the environment")
	}
	changes := config.Diff(p.resolve(before).Config, p.resolve(after).Config)
	for _, change := range changes {
		fmt.Fprintf(p.std.out, "%s: %s → %s  (%s)\n", change.Key, orDash(change.Old), orDash(change.New), change.Effect)
	}
	if len(changes) == 0 {
		fmt.Fprintln(p.std.out, "no setting changes")
	}
	switch {
	case dry:
		return nil
	case p.latest != nil && p.latest.Text == text:
		fmt.Fprintf(p.std.out, "version %d has the same text\n", p.latest.Number)
		return nil
	}
	v, err := p.store.Push(p.ctx, p.number(), next)
	if errors.Is(err, stored.ErrConflict) {
		return &hinted{err: err, hint: "look at agensium config history, then push again", status: exitError}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.std.out, "stored as version %d; nodes take it at once\n", v.Number)
	return nil
}

// Run is called by kong.
func (configPull) Run(c *call) error {
	p, err := c.place()
	if err != nil {
		return err
	}
	defer p.finished()
	if p.latest == nil {
		return errors.New("there are no settings in Redis")
	}
	_, err = io.WriteString(c.std.out, p.latest.Text)
	return err
}

// Run is called by kong.
func (configHistory) Run(c *call) error {
	p, err := c.place()
	if err != nil {
		return err
	}
	defer p.finished()
	all, err := p.store.History(c.ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(c.std.err, "there are no settings in Redis")
	}
	w := tabwriter.NewWriter(c.std.out, 0, 0, 2, ' ', 0)
	for _, v := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", v.Number, v.Time.Format(time.RFC3339), v.By, v.Note)
	}
	return w.Flush()
}

// Run is called by kong.
func (k *configRollback) Run(c *call) error {
	p, err := c.place()
	if err != nil {
		return err
	}
	defer p.finished()
	if k.Version == 0 {
		return p.push("", "rollback to none", false)
	}
	all, err := p.store.History(c.ctx)
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.Number == k.Version {
			return p.push(v.Text, fmt.Sprintf("rollback to %d, %s", v.Number, v.Note), false)
		}
	}
	return usage(fmt.Errorf("version %d is not kept", k.Version), fmt.Sprintf("agensium config history shows the last %d", stored.Kept))
}

// whoami is who pushes, for the history.
func whoami() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

func orDash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "-"
	}
	return s
}
