package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/agensium/agensium/celery/control"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
)

type nodeRegistry struct{ *Supervisor }

// Registered asks the application, and shows the rate limits that hold here.
func (n nodeRegistry) Registered(ctx context.Context, attributes []string) ([]control.RegisteredTask, error) {
	var said map[string]map[string]string
	if n.application() != nil {
		var err error
		if said, err = n.application().Attributes(ctx, attributes); err != nil {
			return nil, err
		}
	}
	var tasks []control.RegisteredTask
	for name := range n.current.Load().tasks {
		t := control.RegisteredTask{Name: name, Attributes: said[name]}
		if t.Attributes == nil {
			t.Attributes = map[string]string{}
		}
		if slices.Contains(attributes, "rate_limit") {
			delete(t.Attributes, "rate_limit")
			if r := n.rate(name); r != nil {
				t.Attributes["rate_limit"] = r.text
			}
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

type nodeSettings struct{ *Supervisor }

// errNoApplication answers what only an application could.
const errNoApplication = control.Refused("not available: this node runs no Python application")

func (n nodeSettings) Conf(ctx context.Context, withDefaults bool) (json.RawMessage, error) {
	if n.application() == nil {
		return nil, errNoApplication
	}
	return n.application().Command(ctx, "conf", map[string]json.RawMessage{"with_defaults": truth(withDefaults)})
}

func (n nodeSettings) Report(ctx context.Context) (string, error) {
	if n.application() == nil {
		return "", errNoApplication
	}
	raw, err := n.application().Command(ctx, "report", nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		OK string `json:"ok"`
	}
	err = json.Unmarshal(raw, &answer)
	return answer.OK, err
}

func truth(b bool) json.RawMessage {
	if b {
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}

type nodeCustom struct{ *Supervisor }

func (n nodeCustom) Has(method string) bool {
	return slices.Contains(n.current.Load().info.Commands, method)
}

func (n nodeCustom) Call(ctx context.Context, method string, args control.Arguments) (json.RawMessage, error) {
	value, err := n.application().Command(ctx, method, args)
	var raised python.Raised
	if errors.As(err, &raised) {
		return nil, control.Refused(raised)
	}
	return value, err
}

type nodeSerializers struct{ *Supervisor }

func (n nodeSerializers) Open(ctx context.Context, contentType, encoding string, body []byte) (json.RawMessage, error) {
	if n.application() == nil {
		return nil, errNoApplication
	}
	return n.application().Opened(ctx, contentType, encoding, body)
}

func (n nodeSerializers) Seal(ctx context.Context, contentType string, value json.RawMessage) (string, []byte, error) {
	return n.application().Sealed(ctx, contentType, value)
}

type nodeStatistics struct{ *Supervisor }

func (n nodeStatistics) Statistics() control.Statistics {
	now := n.current.Load()
	c, status := now.Config, n.pool.Status()
	stats := control.Statistics{
		Total: n.tally.totals(), PID: os.Getpid(), Uptime: time.Since(n.begun), MaxConcurrency: n.concurrency(),
		MaxTasks: c.Pool.MaxTasksPerChild, SoftLimit: c.Tasks.SoftTimeLimit, HardLimit: c.Tasks.TimeLimit, Prefetch: len(status.Slots),
		Broker: n.brokerStatistics(c.Broker, now.info),
	}
	for _, slot := range status.Slots {
		if slot.PID != 0 {
			stats.Processes = append(stats.Processes, control.Process{PID: slot.PID, Tasks: slot.Tasks, Busy: slot.State == pool.Busy})
		}
	}
	if now.autoscaled() {
		p := n.scaler.policy()
		stats.Autoscaler = &control.AutoscalerStatistics{Max: p.Max, Min: p.Min, Current: len(status.Slots), Held: status.Count(pool.Busy)}
	}
	return stats
}

func (n nodeStatistics) brokerStatistics(c config.Broker, info python.Info) control.Broker {
	t := n.target
	return control.Broker{
		Host: t.Host, Port: t.Port, User: t.Username, Database: t.DB, TLS: t.TLS() != nil, ConnectTimeout: c.ConnectTimeout,
		TransportOptions: harmless(info.Settings.BrokerTransport),
	}
}

// harmless leaves out of transport options what may hold a secret.
func harmless(options map[string]any) map[string]any {
	kept := map[string]any{}
	for name, value := range options {
		switch value.(type) {
		case bool, float64, string, nil:
			if name != "password" && name != "username" {
				kept[name] = value
			}
		}
	}
	return kept
}
