// Command canvas serves the tasks of Celery's own integration suite: the simple ones, from which its workflows are
// made, as Go handlers, and the rest, which build workflows themselves, in Python. Its one argument is the name of the node.
//
// The suite is in Celery's source distribution (t/integration); the application is extapp:app in the working directory.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "canvas:", err)
		os.Exit(1)
	}
}

func run(node string) error {
	loaded, err := config.Load(config.Input{Flags: &config.Flags{App: "extapp:app", Concurrency: "2", Hostname: node}})
	if err != nil {
		return err
	}
	r := redis.NewClient(&redis.Options{Addr: net.JoinHostPort(os.Getenv("REDIS_HOST"), os.Getenv("REDIS_PORT"))})
	defer r.Close()
	return supervisor.Run(context.Background(), supervisor.Options{Loaded: loaded, Handlers: tasks(r)})
}

func tasks(r *redis.Client) *celery.Mux {
	mux := celery.NewMux()
	handle := func(name string, fn any, options ...celery.Option) {
		celery.Handle(mux, "t.integration.tasks."+name, fn, options...)
	}
	handle("identity", func(x any) any { return x }, celery.Params("x"))
	handle("add", add, celery.Params("x", "y", "z=null"))
	handle("mul", func(x, y int) int { return x * y }, celery.Params("x", "y"))
	handle("add_ignore_result", func(x, y int) int { return x + y }, celery.Params("x", "y"), celery.IgnoreResult())
	handle("add_with_result", func(x, y int) int { return x + y }, celery.Params("x", "y"))
	handle("add_not_typed", func(x, y int) int { return x + y }, celery.Params("x", "y"))
	handle("tsum", sum, celery.Params("nums"))
	handle("xsum", xsum, celery.Params("nums"))
	handle("delayed_sum", delayedSum, celery.Params("numbers", "pause_time=1"))
	handle("raise_error", func(...any) error { return celery.Raise("ValueError", "deliberate error") })
	handle("fail", func(args ...any) error {
		return celery.Raise("t.integration.tasks.ExpectedException", append([]any{"Task expected to fail"}, args...)...)
	})
	handle("write_to_file_and_return_int", writeToFile, celery.Params("file_name", "i"))
	handle("ids", func(ctx context.Context, i any) any { return ids(ctx, i) }, celery.Params("i"))
	handle("collect_ids", func(ctx context.Context, res, i any) any { return []any{res, ids(ctx, i)} }, celery.Params("res", "i"))
	handle("redis_echo", func(ctx context.Context, message any, key string) error {
		return r.RPush(ctx, key, message).Err() // a string, bytes or a number
	}, celery.Params("message", `redis_key="redis-echo"`))
	handle("redis_echo_group_id", func(ctx context.Context, _ any, key string) error {
		return r.RPush(ctx, key, celery.RequestFrom(ctx).Group).Err()
	}, celery.Params("_", `redis_key="redis-group-ids"`))
	handle("redis_count", func(ctx context.Context, key string) error { return r.Incr(ctx, key).Err() }, celery.Params(`redis_key="redis-count"`))
	handle("errback_old_style", func(ctx context.Context, id string) (string, error) { return id, r.Incr(ctx, id).Err() }, celery.Params("request_id"))
	handle("errback_old_style_with_args", func(ctx context.Context, id, label string) error {
		return r.RPush(ctx, id, label).Err()
	}, celery.Params("request_id", "label"))
	handle("replaced_with_me", func() bool { return true })
	handle("return_exception", func(e any) []any { return []any{e, true} }, celery.Params("e"))
	handle("return_priority", func(ctx context.Context, _ ...any) string {
		return fmt.Sprintf("Priority: %d", celery.RequestFrom(ctx).Priority)
	})
	handle("sleeping", func(ctx context.Context, seconds float64, _ map[string]any) { pause(ctx, seconds) }, celery.Params("i", "**_"))
	return mux
}

// add is Python's + for what the suite adds: numbers, strings and lists.
func add(x, y, z any) (any, error) {
	if z != nil {
		part, err := add(x, y, nil)
		if err != nil {
			return nil, err
		}
		return add(part, z, nil)
	}
	switch x := x.(type) {
	case int64:
		if y, ok := y.(int64); ok {
			return x + y, nil
		}
	case string:
		if y, ok := y.(string); ok {
			return x + y, nil
		}
	case []any:
		if y, ok := y.([]any); ok {
			return append(x, y...), nil
		}
	}
	return nil, celery.Raise("TypeError", fmt.Sprintf("unsupported operand type(s) for +: %T and %T", x, y))
}

func sum(nums []int) (total int) {
	for _, n := range nums {
		total += n
	}
	return total
}

// xsum adds numbers and lists of numbers.
func xsum(nums []any) (total int64, err error) {
	for _, n := range nums {
		switch n := n.(type) {
		case int64:
			total += n
		case []any:
			inner, err := xsum(n)
			if err != nil {
				return 0, err
			}
			total += inner
		default:
			return 0, celery.Raise("TypeError", fmt.Sprintf("not a number: %v", n))
		}
	}
	return total, nil
}

func delayedSum(ctx context.Context, numbers []int, seconds float64) int {
	pause(ctx, seconds)
	return sum(numbers)
}

func pause(ctx context.Context, seconds float64) {
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-ctx.Done():
	}
}

func writeToFile(name string, i int) (int, error) {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintln(f, i)
	return i, errors.Join(err, f.Close())
}

// ids are those of the workflow, as JSON has them: an absent one is null.
func ids(ctx context.Context, i any) []any {
	request := celery.RequestFrom(ctx)
	var parent any
	if request.ParentID != "" {
		parent = request.ParentID
	}
	return []any{request.Root(), parent, i}
}
