package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/celery/serial"
	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
)

type sendCommand struct {
	Name          string   `arg:"" help:"Name of the task, as in tasks.add."`
	Args          string   `short:"a" placeholder:"JSON" help:"Positional arguments, a JSON list."`
	Kwargs        string   `short:"k" placeholder:"JSON" help:"Keyword arguments, a JSON object."`
	Queue         string   `placeholder:"QUEUE" help:"Default: the application's route for the task, else its default queue."`
	Countdown     string   `placeholder:"TIME" help:"Run it after this time: seconds, or 10m."`
	ETA           string   `name:"eta" placeholder:"WHEN" help:"Run it at this time: 2030-01-31T12:00:00Z."`
	Expires       string   `placeholder:"TIME" help:"Do not run it after this time: seconds, 10m, or a date as for --eta."`
	Priority      int      `placeholder:"N" help:"0 to 9; on Redis 0 is the most urgent."`
	Retries       int      `placeholder:"N" help:"Count this many retries as made."`
	TimeLimit     string   `placeholder:"TIME" help:"Hard time limit of this call: seconds, or 10m."`
	SoftTimeLimit string   `placeholder:"TIME" help:"Soft time limit of this call."`
	Header        []string `sep:"none" placeholder:"NAME=VALUE" help:"A header of the message; may be given several times."`
	Link          []string `sep:"none" placeholder:"TASK" help:"Run this with the result: a name, or a signature as JSON; may be given several times."`
	LinkError     []string `sep:"none" placeholder:"TASK" help:"Run this with the id of the task if it fails; as --link."`
	TaskID        string   `name:"task-id" aliases:"id" placeholder:"ID" help:"Id of the task. Default: a new one."`
	Serializer    string   `placeholder:"NAME" help:"Of the arguments: json, msgpack or yaml."`
	IgnoreResult  bool     `help:"Have no result stored."`
	Wait          bool     `short:"w" help:"Wait for the end: prints the result as JSON; exit status 1 if the task fails."`
	Timeout       string   `placeholder:"TIME" help:"With --wait: wait no longer: seconds, or 10m. Default: for ever."`
}

// Run is called by kong.
func (s *sendCommand) Run(c *call) error {
	sig, err := s.signature()
	if err != nil {
		return err
	}
	timeout, err := s.timeout()
	if err != nil {
		return err
	}
	if s.Wait && s.IgnoreResult {
		return usage(errors.New("--wait and --ignore-result exclude each other"), "")
	}
	found, err := s.inspect(c)
	if err != nil {
		return err
	}
	if s.Wait && !found.Stored() {
		return usage(errors.New("nothing to wait for: results are not stored"), "set results.url, CELERY_RESULT_BACKEND, or --result-backend")
	}
	sender, err := found.Client()
	if err != nil {
		return err
	}
	defer sender.Close()
	return s.send(c, sender, sig, timeout)
}

// timeout is how long to wait; 0 is for ever.
func (s *sendCommand) timeout() (time.Duration, error) {
	if s.Timeout == "" {
		return 0, nil
	}
	d, err := config.ParseDuration(s.Timeout)
	switch {
	case err == nil && d <= 0:
		err = errors.New("leaves no time")
	case err == nil && !s.Wait:
		return 0, usage(errors.New("--timeout is for --wait"), "")
	}
	if err != nil {
		return 0, usage(fmt.Errorf("--timeout %s: %w", s.Timeout, err), "seconds, or 10m, 1h30m")
	}
	return d, nil
}

func (s *sendCommand) send(c *call, sender *client.Client, sig *celery.Signature, timeout time.Duration) error {
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	result, err := sender.Apply(ctx, sig)
	if err != nil {
		return &hinted{err: fmt.Errorf("send %s: %w", s.Name, err), hint: redisconn.Classify(err).Hint, status: exitError}
	}
	fmt.Fprintln(c.std.out, result.ID())
	if !s.Wait {
		return nil
	}
	var value pyjson.Raw
	err = result.Get(ctx, &value)
	var failure *client.TaskError
	switch {
	case errors.As(err, &failure):
		if failure.Traceback != "" {
			fmt.Fprint(c.std.err, strings.TrimSuffix(failure.Traceback, "\n")+"\n")
		}
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return &hinted{err: fmt.Errorf("no result of %s[%s] within %s", s.Name, result.ID(), timeout),
			hint: "it was sent; a worker may not consume its queue, or the task takes longer", status: exitError}
	case err != nil:
		return err
	}
	fmt.Fprintln(c.std.out, string(value))
	return nil
}

// inspect finds out where to send.
func (s *sendCommand) inspect(c *call) (*supervisor.Inspection, error) {
	loaded, err := c.load(c.global())
	if err != nil {
		return nil, err
	}
	found, err := supervisor.Inspect(c.ctx, supervisor.Options{Loaded: loaded, Version: version()})
	if err != nil {
		return nil, setup(err)
	}
	if found.StartError != nil {
		return nil, usage(fmt.Errorf("import %s: %w", loaded.Config.Python.App, found.StartError),
			"it says where tasks go; without python.app, agensium sends to --broker and --queue alone")
	}
	return found, nil
}

// signature makes a task of the command line.
func (s *sendCommand) signature() (*celery.Signature, error) {
	if strings.TrimSpace(s.Name) == "" {
		return nil, usage(errors.New("the task has no name"), "as in agensium send tasks.add")
	}
	sig := celery.S(s.Name)
	if s.Args != "" {
		args, err := pyjson.Elements(nil, pyjson.Raw(strings.TrimSpace(s.Args)))
		if err == nil {
			err = pyjson.Valid([]byte(s.Args))
		}
		if err != nil {
			return nil, usage(fmt.Errorf("--args %s: %w", s.Args, err), `a JSON list, such as --args '[1, "two"]'`)
		}
		sig.Args = args
	}
	if s.Kwargs != "" {
		kwargs, err := pyjson.Members(nil, pyjson.Raw(strings.TrimSpace(s.Kwargs)))
		if err == nil {
			err = pyjson.Valid([]byte(s.Kwargs))
		}
		if err != nil {
			return nil, usage(fmt.Errorf("--kwargs %s: %w", s.Kwargs, err), `a JSON object, such as --kwargs '{"x": 1}'`)
		}
		sig.Kwargs = kwargs
	}
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	return sig.With(o), nil
}

// options reads what is said about the call besides its arguments.
func (s *sendCommand) options() (o celery.Options, err error) {
	o = celery.Options{TaskID: s.TaskID, Queue: s.Queue, Priority: s.Priority, Retries: s.Retries, Serializer: s.Serializer, IgnoreResult: s.IgnoreResult}
	if s.Priority < 0 || s.Priority > 9 {
		return o, usage(fmt.Errorf("--priority %d", s.Priority), "0 to 9")
	}
	if s.Retries < 0 {
		return o, usage(fmt.Errorf("--retries %d", s.Retries), "0 or more")
	}
	if _, ok := serial.ByName(s.Serializer); !ok {
		return o, usage(fmt.Errorf("--serializer %s", s.Serializer), "json, msgpack or yaml")
	}
	for _, d := range []struct {
		flag, value string
		to          *time.Duration
	}{{"countdown", s.Countdown, &o.Countdown}, {"time-limit", s.TimeLimit, &o.TimeLimit}, {"soft-time-limit", s.SoftTimeLimit, &o.SoftTimeLimit}} {
		if d.value == "" {
			continue
		}
		if *d.to, err = config.ParseDuration(d.value); err != nil {
			return o, usage(fmt.Errorf("--%s %s: %w", d.flag, d.value, err), "seconds, or 10m, 1h30m")
		}
	}
	if o.TimeLimit > 0 && o.SoftTimeLimit >= o.TimeLimit {
		return o, usage(fmt.Errorf("--soft-time-limit %s is not less than --time-limit %s", s.SoftTimeLimit, s.TimeLimit), "")
	}
	if s.ETA != "" && s.Countdown != "" {
		return o, usage(errors.New("--eta and --countdown exclude each other"), "")
	}
	if s.ETA != "" {
		if o.ETA, err = time.Parse(time.RFC3339, s.ETA); err != nil {
			return o, usage(fmt.Errorf("--eta %s is no time", s.ETA), "with its offset from UTC, such as 2030-01-31T12:00:00Z or 2030-01-31T12:00:00+02:00")
		}
	}
	if s.Expires != "" {
		if o.ExpiresIn, err = config.ParseDuration(s.Expires); err != nil {
			if o.Expires, err = time.Parse(time.RFC3339, s.Expires); err != nil {
				return o, usage(fmt.Errorf("--expires %s is no time", s.Expires), "seconds, 10m, or 2030-01-31T12:00:00Z")
			}
		} else if o.ExpiresIn == 0 {
			return o, usage(fmt.Errorf("--expires %s leaves no time", s.Expires), "")
		}
	}
	for _, h := range s.Header {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return o, usage(fmt.Errorf("--header %s", h), "NAME=VALUE, such as --header tenant=acme")
		}
		if o.Headers == nil {
			o.Headers = map[string]any{}
		}
		o.Headers[name] = value
	}
	if o.Link, err = signatures("link", s.Link); err != nil {
		return o, err
	}
	o.LinkError, err = signatures("link-error", s.LinkError)
	return o, err
}

// signatures reads tasks that follow from another: their names, or signatures as JSON.
func signatures(flag string, texts []string) ([]*celery.Signature, error) {
	var list []*celery.Signature
	for _, text := range texts {
		if strings.TrimSpace(text) == "" {
			return nil, usage(fmt.Errorf("--%s names no task", flag), "")
		}
		if !strings.HasPrefix(strings.TrimSpace(text), "{") {
			list = append(list, celery.S(text))
			continue
		}
		err := pyjson.Valid([]byte(text))
		var sig *celery.Signature
		if err == nil {
			sig, err = celery.ParseSignature([]byte(text))
		}
		if err != nil {
			return nil, usage(fmt.Errorf("--%s %s: %w", flag, text, err), `the name of a task, or a signature such as {"task": "tasks.add", "args": [1]}`)
		}
		list = append(list, sig)
	}
	return list, nil
}
