package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/supervisor"
)

// reloadCommand is for deployments in place: a script, or systemd, has to know whether the new code could be imported.
type reloadCommand struct {
	Address string `placeholder:"HOST:PORT" help:"Admin address of the node. Default: admin.listen of the settings."`
}

// reloadPoll is how often the node is asked how it goes. It asks nobody else for that.
const reloadPoll = 100 * time.Millisecond

// Run is called by kong.
func (r reloadCommand) Run(c *call) error {
	address, home, err := c.adminAddress(r.Address)
	if err != nil {
		return err
	}
	before, err := home.reloads(c.ctx, address)
	if err != nil {
		return &hinted{err: err, hint: "is a worker running here, with the same admin.listen? --address names another. Without admin server: kill -HUP its process, and read its log", status: exitError}
	}
	if err := hangUp(before); err != nil {
		return err
	}
	for {
		now, err := home.reloads(c.ctx, address)
		switch {
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case err != nil:
			return fmt.Errorf("the node answers no more: %w", err)
		case now.PID != before.PID || now.Birth != before.Birth:
			return errors.New("the node ended before it was reloaded, and another one has taken its place")
		case now.Answered > before.Asked && now.Refusal != "":
			return &hinted{err: fmt.Errorf("reload refused: %s", now.Refusal), hint: "the node works on with the settings and the code it had", status: exitError}
		case now.Answered > before.Asked:
			fmt.Fprintf(c.std.out, "reloaded: process %d works with the settings and the code as they are now\n", now.PID)
			return nil
		case now.Ends():
			return errors.New("the node ends: it takes nothing over any more")
		}
		select {
		case <-c.ctx.Done():
		case <-time.After(reloadPoll):
		}
	}
}

// reloads asks the node that is meant how reloads went.
func (h home) reloads(ctx context.Context, address string) (*supervisor.ReloadReport, error) {
	a, err := h.ask(ctx, address, "/reload")
	if err != nil {
		return nil, err
	}
	if h.unsure(a) {
		return nil, &unanswered{address, fmt.Errorf("that is %s, and there are no settings here that say it is meant", a.whose())}
	}
	var report supervisor.ReloadReport
	if a.code != http.StatusOK || json.Unmarshal(a.body, &report) != nil || report.PID <= 0 {
		return nil, &unanswered{address, fmt.Errorf("it says %d %s to GET /reload: an older version, perhaps", a.code, http.StatusText(a.code))}
	}
	return &report, nil
}

// hangUp sends the signal, to the process that is meant and no other: the node may be in a container, where its number is another one.
func hangUp(node *supervisor.ReloadReport) error {
	if node.Deaf {
		return usage(fmt.Errorf("process %d is a program of its own that hears no SIGHUP for its node", node.PID), "send POST /reload with admin.token")
	}
	hidden := os.Getenv("MAINPID") == strconv.Itoa(node.PID) // systemd says so, whose ProtectProc and PrivateUsers hide the process from us
	if !hidden && child.Birth(node.PID) != node.Birth {
		return usage(fmt.Errorf("process %d here is not the node that answers: it runs in a container, perhaps", node.PID),
			"run agensium reload in there, or send POST /reload with admin.token")
	}
	if err := syscall.Kill(node.PID, syscall.SIGHUP); err != nil {
		return &hinted{err: fmt.Errorf("send SIGHUP to process %d: %w", node.PID, err), hint: "run it as the user of the node, or as root", status: exitError}
	}
	return nil
}
