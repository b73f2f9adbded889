package control

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/agensium/agensium/celery"
)

// maxArguments bounds the arguments of a task that an answer carries as values, in bytes; beyond, their repr is shown.
const maxArguments = 1 << 20

// Request is a task that the node holds, or one that is parked (celery/worker/request.py Request).
type Request struct {
	Task         *celery.Task
	Started      time.Time // zero: not yet
	Acknowledged bool
	PID          int // of what runs it; 0: nothing does
}

// requestInfo is what the tools get to see (Request.info).
type requestInfo struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Args         any             `json:"args"`
	Kwargs       any             `json:"kwargs"`
	Type         string          `json:"type"`
	Hostname     string          `json:"hostname"`
	TimeStart    *float64        `json:"time_start"`
	Acknowledged bool            `json:"acknowledged"`
	DeliveryInfo requestDelivery `json:"delivery_info"`
	WorkerPID    *int            `json:"worker_pid"`
}

type requestDelivery struct {
	Exchange    string `json:"exchange"`
	RoutingKey  string `json:"routing_key"`
	Priority    int    `json:"priority"`
	Redelivered bool   `json:"redelivered"`
}

// info describes the request. With safe, the arguments are the texts that the message brings; else they are
// values, unless only Python could read them.
func (r Request) info(node string, safe bool) requestInfo {
	t := r.Task
	i := requestInfo{
		ID: t.ID, Name: t.DisplayName(), Type: t.Name, Args: t.ArgsRepr, Kwargs: t.KwargsRepr,
		Hostname: node, Acknowledged: r.Acknowledged,
		DeliveryInfo: requestDelivery{t.Exchange, t.RoutingKey, t.Priority, t.Redelivered},
	}
	if !r.Started.IsZero() {
		started := unixSeconds(r.Started)
		i.TimeStart = &started
	}
	if r.PID != 0 {
		i.WorkerPID = &r.PID
	}
	if safe {
		return i
	}
	if args, kwargs, ok := arguments(t); ok {
		i.Args, i.Kwargs = args, kwargs
	}
	return i
}

// arguments takes the arguments out of a JSON body: [args, kwargs, embed] in protocol 2, an object in protocol 1. What is
// not JSON in Go's sense (NaN) or too large is left to the repr.
func arguments(t *celery.Task) (args, kwargs json.RawMessage, ok bool) {
	if t.ContentType != "application/json" || len(t.Raw) > 2*maxArguments { // base64 adds a third
		return nil, nil, false
	}
	body, err := t.Body()
	if err != nil || len(body) > maxArguments {
		return nil, nil, false
	}
	var first struct{ Args, Kwargs json.RawMessage }
	if json.Unmarshal(body, &first) == nil {
		return first.Args, first.Kwargs, first.Args != nil && first.Kwargs != nil
	}
	var second []json.RawMessage
	if json.Unmarshal(body, &second) != nil || len(second) < 2 {
		return nil, nil, false
	}
	return second[0], second[1], true
}

// RegisteredTask is a task of the application.
type RegisteredTask struct {
	Name       string
	Attributes map[string]string // by name; those that are None in Python are absent
}

// line is how `inspect registered` shows a task.
func (t RegisteredTask) line(attributes []string) string {
	var fields []string
	for _, name := range attributes {
		if value, ok := t.Attributes[name]; ok {
			fields = append(fields, name+"="+value)
		}
	}
	if len(fields) == 0 {
		return t.Name
	}
	return t.Name + " [" + strings.Join(fields, " ") + "]"
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// isoFormat is Python's datetime.isoformat; nil for no time.
func isoFormat(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	layout := "2006-01-02T15:04:05.000000-07:00"
	if t.Nanosecond()/1000 == 0 {
		layout = "2006-01-02T15:04:05-07:00"
	}
	s := t.Format(layout)
	return &s
}
