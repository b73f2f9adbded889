package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// revoke puts tasks on the list of the revoked, and ends those that run if asked to (celery/worker/control.py revoke).
func revoke(ctx context.Context, c *commands, args Arguments) (any, error) {
	ids, err := stringList(args, "task_id")
	if err != nil {
		return nil, err
	}
	c.revoked.Revoke(ctx, ids)
	c.tellRevoked(ctx, ids)
	if !truthy(args["terminate"]) {
		c.log.Info("tasks flagged as revoked", "tasks", len(ids), "ids", some(ids))
		return done("tasks " + quoteSet(ids) + " flagged as revoked"), nil
	}
	signal, err := signalArgument(args)
	if err != nil {
		return nil, err
	}
	ended, err := c.terminate(ctx, ids, signal)
	if err != nil {
		return nil, err
	}
	if len(ended) == 0 {
		return done("terminate: tasks unknown"), nil
	}
	return done("terminate: " + strings.Join(ended, ", ")), nil
}

// untold are revocations that the Node has not been told of.
type untold struct {
	telling sync.Mutex // held by who tells

	mu  sync.Mutex // guards what follows
	any bool       // of ids or of stamps
	ids []string
}

func (u *untold) add(ids []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.any, u.ids = true, append(u.ids, ids...)
}

func (u *untold) take() (ids []string, any bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids, any = u.ids, u.any
	u.ids, u.any = nil, false
	return ids, any
}

// tellRevoked returns when the Node has seen to the revoked tasks: to those of all who wait for it at once.
func (c *commands) tellRevoked(ctx context.Context, ids []string) {
	if c.of.Revoker == nil {
		return
	}
	c.untold.add(ids)
	c.untold.telling.Lock()
	defer c.untold.telling.Unlock()
	ids, any := c.untold.take()
	if !any {
		return // somebody else did
	}
	if err := c.of.Revoker.Revoked(ctx, ids); err != nil {
		c.log.Warn("results of revoked tasks not recorded", "tasks", len(ids), "error", err, "next", "when they are met")
	}
}

// terminate is revoke with terminate set (an older name that `celery control terminate` still sends).
func terminate(ctx context.Context, c *commands, args Arguments) (any, error) {
	return revoke(ctx, c, Arguments{
		"task_id": args["task_id"], "signal": args["signal"], "terminate": json.RawMessage("true"),
	})
}

func (c *commands) terminate(ctx context.Context, ids []string, signal syscall.Signal) ([]string, error) {
	if c.of.Revoker == nil {
		return nil, missing("terminate")
	}
	ended := c.of.Revoker.Terminate(ctx, ids, signal)
	c.log.Info("terminating tasks", "tasks", len(ended), "ids", some(ended), "signal", signal)
	return ended, nil
}

// revokeStamped revokes by the values of stamped headers, those to come and, if asked to, those that run.
func revokeStamped(ctx context.Context, c *commands, args Arguments) (any, error) {
	signal, err := signalArgument(args)
	if err != nil {
		return nil, err
	}
	headers, err := stampArguments(args["headers"])
	if err != nil {
		return nil, err
	}
	c.revoked.RevokeStamps(ctx, headers)
	c.tellRevoked(ctx, nil)
	if !truthy(args["terminate"]) {
		return done("headers " + pyValue(headers) + " flagged as revoked, but not terminated"), nil
	}
	if c.of.Requests == nil {
		return nil, missing("terminate")
	}
	matched := map[string][]string{}
	var ids []string
	for _, r := range c.of.Requests.Active() {
		stamps := stampValues(r.Task.Stamps)
		for header, values := range headers {
			for _, value := range maybeList(values) {
				if !slices.Contains(stamps[header], canonical(value)) {
					continue
				}
				if text := pyValue(value); !slices.Contains(matched[header], text) {
					matched[header] = append(matched[header], text)
				}
				ids = append(ids, r.Task.ID)
			}
		}
	}
	if len(ids) == 0 {
		return done("headers " + pyValue(headers) + " were not terminated"), nil
	}
	if _, err := c.terminate(ctx, slices.Compact(ids), signal); err != nil {
		return nil, err
	}
	return done("headers " + quoteSets(matched) + " revoked"), nil
}

// stampArguments reads the headers: an object, or a list of "key=value" as the command line sends it.
func stampArguments(raw json.RawMessage) (map[string]any, error) {
	var pairs []string
	if json.Unmarshal(raw, &pairs) == nil {
		headers := map[string]any{}
		for _, pair := range pairs {
			key, rest, found := strings.Cut(pair, "=")
			if !found {
				return nil, exception{"IndexError", "list index out of range"}
			}
			value, _, _ := strings.Cut(rest, "=")
			headers[key] = value
		}
		return headers, nil
	}
	var headers map[string]any
	if err := decodeNumbers(raw, &headers); err != nil {
		return nil, exception{"TypeError", fmt.Sprintf("headers are neither an object nor a list of strings: %.80s", raw)}
	}
	return headers, nil
}

func rateLimit(_ context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Limits == nil {
		return nil, missing("rate_limit")
	}
	var task string
	if err := arg(args, "task_name", &task); err != nil {
		return nil, err
	}
	text := string(args["rate_limit"])
	var quoted string
	if json.Unmarshal(args["rate_limit"], &quoted) == nil {
		text = quoted
	}
	perSecond, err := ParseRate(text)
	if err != nil {
		return nil, err
	}
	if !truthy(args["rate_limit"]) {
		text = ""
	}
	if err := c.of.Limits.RateLimit(task, text, perSecond); err != nil {
		return nil, err
	}
	if text == "" { // "0" disables it, too, and Celery says that it is new
		c.log.Info("rate limit disabled", "task", task)
		return done("rate limit disabled successfully"), nil
	}
	c.log.Info("rate limit changed", "task", task, "limit", text)
	return done("new rate limit set successfully"), nil
}

func timeLimit(_ context.Context, c *commands, args Arguments) (any, error) {
	if c.of.Limits == nil {
		return nil, missing("time_limit")
	}
	var task string
	var soft, hard float64
	if err := errors.Join(arg(args, "task_name", &task), arg(args, "soft", &soft), arg(args, "hard", &hard)); err != nil {
		return nil, err
	}
	if soft < 0 || hard < 0 || soft > maxSeconds || hard > maxSeconds {
		return nil, exception{"ValueError", "time limits have to be between 0 and " + fmt.Sprint(maxSeconds) + " seconds"}
	}
	if err := c.of.Limits.TimeLimits(task, seconds(soft), seconds(hard)); err != nil {
		return nil, err
	}
	c.log.Info("time limits changed", "task", task, "soft", seconds(soft), "hard", seconds(hard))
	return done("time limits set successfully"), nil
}

// maxSeconds is the longest time limit that can be asked for: 30 years.
const maxSeconds = 30 * 365 * 24 * 3600

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// signalArgument reads the signal, SIGTERM if there is none (celery/platforms.py Signals.signum).
func signalArgument(args Arguments) (syscall.Signal, error) {
	raw := args["signal"]
	if !truthy(raw) {
		return unix.SIGTERM, nil
	}
	var number int
	if json.Unmarshal(raw, &number) == nil {
		if number < 1 || number > 64 {
			return 0, Refused("OSError(22, 'Invalid argument')")
		}
		return syscall.Signal(number), nil
	}
	var name string
	if json.Unmarshal(raw, &name) != nil || name != strings.ToUpper(name) || name == strings.ToLower(name) {
		return 0, exception{"TypeError", "signal name must be uppercase string."}
	}
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	signal := unix.SignalNum(name)
	if signal == 0 {
		return 0, exception{"AttributeError", "module 'signal' has no attribute " + quote(name)}
	}
	return signal, nil
}

// some is a list for a log line: its beginning, if it is long.
func some(ids []string) []string {
	const most = 10
	if len(ids) > most {
		return append(slices.Clone(ids[:most]), "…")
	}
	return ids
}
