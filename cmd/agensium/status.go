package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
)

// statusCommand shows the local node, and the others on its Redis.
type statusCommand struct {
	Watch   bool          `short:"w" help:"Show it again and again, until interrupted."`
	Every   time.Duration `default:"2s" placeholder:"TIME" help:"With --watch: how often."`
	JSON    bool          `help:"The whole document, as /status has it."`
	Address string        `placeholder:"HOST:PORT" help:"Admin address of the node. Default: admin.listen of the settings."`
}

// Run is called by kong.
func (s statusCommand) Run(c *call) error {
	for {
		err := s.once(c)
		if !s.Watch || c.ctx.Err() != nil {
			return err
		}
		if err != nil {
			fmt.Fprintln(c.std.out, err) // it may come back
		}
		select {
		case <-c.ctx.Done():
			return nil
		case <-time.After(max(s.Every, 100*time.Millisecond)):
		}
	}
}

func (s statusCommand) once(c *call) error {
	address, home, err := c.adminAddress(s.Address)
	if err != nil {
		return err
	}
	a, err := home.ask(c.ctx, address, "/status")
	if err == nil && a.code != http.StatusOK {
		err = &unanswered{address, fmt.Errorf("it says %d %s", a.code, http.StatusText(a.code))}
	}
	var absent *unanswered
	if errors.As(err, &absent) {
		return s.others(c, err)
	}
	if err != nil {
		return err
	}
	var st supervisor.Status
	if err := json.Unmarshal(a.body, &st); err != nil {
		return s.others(c, &unanswered{address, err})
	}
	s.clear(c.std.out)
	if s.JSON {
		_, err = c.std.out.Write(a.body)
		return err
	}
	render(c.std.out, &st)
	return nil
}

// clear begins a new screen, if one follows the other.
func (s statusCommand) clear(w io.Writer) {
	if s.Watch && !s.JSON {
		fmt.Fprint(w, "\x1b[H\x1b[2J")
	}
}

// others shows what Redis tells of the nodes when none answers here; the error stays one.
func (s statusCommand) others(c *call, absent error) error {
	hint := "is a worker running here, with the same admin.listen? Its log says where it listens; two projects on one host need two addresses"
	nodes, err := s.registry(c)
	if err != nil || len(nodes) == 0 {
		return &hinted{err: absent, hint: hint, status: exitError}
	}
	s.clear(c.std.out)
	if s.JSON {
		e := json.NewEncoder(c.std.out)
		e.SetIndent("", "  ")
		if err := e.Encode(struct {
			Nodes []supervisor.NodeStatus `json:"nodes"`
		}{nodes}); err != nil {
			return err
		}
	} else {
		renderNodes(c.std.out, nodes)
	}
	return &hinted{err: absent, hint: hint, status: exitError}
}

func (s statusCommand) registry(c *call) ([]supervisor.NodeStatus, error) {
	loaded, err := c.load(&config.Flags{Broker: c.cli.Broker})
	if err != nil {
		return nil, err
	}
	b := loaded.Config.Broker
	target, err := redisconn.Parse(b.URL, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.ctx, askTimeout)
	defer cancel()
	nodes, err := broker.ReadNodes(ctx, target, b.KeyPrefix, b.Separator)
	if err != nil {
		return nil, err
	}
	return supervisor.NodesStatus(nodes), nil
}
