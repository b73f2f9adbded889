package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// Arguments are the keyword arguments of a command, each still JSON.
type Arguments map[string]json.RawMessage

// Refused is an error that a client sees as it stands: {"error": "unknown task"}.
type Refused string

func (r Refused) Error() string { return string(r) }

// exception is an error that a client sees as the repr of a Python exception: {"error": "KeyError('x')"}.
type exception struct{ class, message string }

func (e exception) Error() string { return e.class + "(" + quote(e.message) + ")" }

// errorText is what a client sees of an error.
func errorText(err error) string {
	var refused Refused
	if errors.As(err, &refused) {
		return string(refused)
	}
	var raised exception
	if errors.As(err, &raised) {
		return raised.Error()
	}
	return exception{"RuntimeError", err.Error()}.Error()
}

// done and failed are the two shapes of an answer (celery/worker/control.py ok, nok).
func done(text string) any   { return map[string]string{"ok": text} }
func failed(text string) any { return map[string]string{"error": text} }

// command is an entry of the table.
type command struct {
	required []string // arguments that have to be there, in the order of the Python signature
	optional []string
	open     bool // further arguments are ignored (**kwargs)
	slow     bool // may wait for Redis, for Python or for the pool
	run      func(context.Context, *commands, Arguments) (any, error)
}

// check tells, in Python's words, what is wrong with the arguments.
func (c *command) check(method string, args Arguments) error {
	var missing []string
	for _, name := range c.required {
		if _, ok := args[name]; !ok {
			missing = append(missing, quote(name))
		}
	}
	if n := len(missing); n > 0 {
		noun, list := "argument", missing[0]
		if n > 1 {
			noun, list = "arguments", strings.Join(missing[:n-1], ", ")+" and "+missing[n-1]
		}
		return exception{"TypeError", fmt.Sprintf("%s() missing %d required positional %s: %s", method, n, noun, list)}
	}
	if c.open {
		return nil
	}
	for name := range args {
		if !slices.Contains(c.required, name) && !slices.Contains(c.optional, name) {
			return exception{"TypeError", fmt.Sprintf("%s() got an unexpected keyword argument %s", method, quote(name))}
		}
	}
	return nil
}

// commands runs what clients ask for. Its fields never change after New, untold apart.
type commands struct {
	node    string
	of      Node
	revoked *Revoked
	events  *Events
	clock   *Clock
	log     hclog.Logger
	untold  untold
}

func (c *commands) slow(method string) bool {
	if c.of.Custom != nil && c.of.Custom.Has(method) {
		return true
	}
	entry, ok := table[method]
	return ok && entry.slow
}

func (c *commands) handle(ctx context.Context, method string, args Arguments) (any, error) {
	if c.of.Custom != nil && c.of.Custom.Has(method) {
		return c.of.Custom.Call(ctx, method, args)
	}
	entry, ok := table[method]
	if !ok {
		return nil, exception{"KeyError", method}
	}
	if err := entry.check(method, args); err != nil {
		return nil, err
	}
	return entry.run(ctx, c, args)
}

// open and seal are for other serializers than JSON, which only an application can read and write.
func (c *commands) open(ctx context.Context, sealed content) (json.RawMessage, error) {
	if c.of.Serializers == nil {
		return nil, errContentType
	}
	return c.of.Serializers.Open(ctx, sealed.kind, sealed.encoding, sealed.body)
}

func (c *commands) seal(ctx context.Context, kind string, value json.RawMessage) (content, error) {
	encoding, body, err := c.of.Serializers.Seal(ctx, kind, value)
	if err != nil {
		return content{}, fmt.Errorf("write reply as %s: %w", kind, err)
	}
	return content{kind, encoding, body}, nil
}

// errContentType says that a control message is of a serializer that we do not speak.
var errContentType = errors.New("without an application control messages must be JSON")

// missing is the answer of a command whose area the node does not have.
func missing(method string) error {
	return Refused(method + " is not available on this node")
}
