package celery_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
)

type orderArgs struct {
	ID       int      `json:"id"`
	Currency string   `json:"currency" default:"\"EUR\""`
	Note     *string  `json:"note"`
	Tags     []string `json:"tags,omitempty"`
}

// badly is a type whose methods panic.
type badly struct{}

func (badly) MarshalJSON() ([]byte, error) { panic("write") }
func (*badly) UnmarshalJSON([]byte) error  { panic("read") }

// nested is an error whose methods panic where it is nil, as usual.
type nested struct{ err error }

func (e *nested) Error() string { return e.err.Error() }
func (e *nested) Unwrap() error { return e.err }

func testMux() *celery.Mux {
	mux := celery.NewMux()
	celery.Handle(mux, "t.add", func(_ context.Context, x, y int) (int, error) { return x + y, nil })
	celery.Handle(mux, "t.named", func(x, y int) int { return x - y }, celery.Params("x", "y=10"))
	celery.Handle(mux, "t.rest", func(x int, rest map[string]any) map[string]any { rest["x"] = x; return rest }, celery.Params("x", "**rest"))
	celery.Handle(mux, "t.sum", func(xs ...float64) (sum float64) {
		for _, x := range xs {
			sum += x
		}
		return sum
	})
	celery.Handle(mux, "t.none", func() {})
	celery.Handle(mux, "t.fails", func() error { return celery.Raise("ValueError", "boom", 42) })
	celery.Handle(mux, "t.panics", func() { panic("oh") })
	celery.Handle(mux, "t.order", func(o orderArgs) orderArgs { return o })
	celery.Handle(mux, "t.pointer", func(o *orderArgs) *orderArgs { return o })
	celery.Handle(mux, "t.ints", func(...int) {}, celery.Params("*xs"))
	celery.Handle(mux, "t.lists", func([]int) {})
	celery.Handle(mux, "t.kwints", func(map[string]int) {}, celery.Params("**kw"))
	celery.Handle(mux, "t.raw", func() pyjson.Raw { return pyjson.Raw("x") })
	celery.Handle(mux, "t.nil error", func() error { return (*nested)(nil) })
	celery.Handle(mux, "t.cycle", func() any { m := map[string]any{}; m["m"] = m; return m })
	celery.Handle(mux, "t.echo", func(v any) any { return v })
	celery.Handle(mux, "t.unwritable", func() any { return make(chan int) })
	celery.Handle(mux, "t.writes badly", func() badly { return badly{} })
	celery.Handle(mux, "t.reads badly", func(badly) {})
	return mux
}

func TestBinding(t *testing.T) {
	cases := map[string]struct {
		task, args, kwargs string
		want, fails        string
	}{
		"positional":          {"add", `[1, 2]`, `{}`, `3`, ``},
		"missing one":         {"add", `[1]`, `{}`, ``, `add() missing 1 required positional argument: 2`},
		"missing two":         {"add", `[]`, `{}`, ``, `add() missing 2 required positional arguments: 1 and 2`},
		"surplus":             {"add", `[1, 2, 3]`, `{}`, ``, `add() takes 2 positional arguments but 3 were given`},
		"wrong type":          {"add", `[1, "2"]`, `{}`, ``, `add() argument 2 must be int, not str`},
		"no names":            {"add", `[1]`, `{"y": 2}`, ``, `add() got an unexpected keyword argument 'y': its parameters have no names, give them with celery.Params`},
		"keyword":             {"named", `[]`, `{"y": 2, "x": 1}`, `-1`, ``},
		"default":             {"named", `[1]`, `{}`, `-9`, ``},
		"missing named":       {"named", `[]`, `{}`, ``, `named() missing 1 required positional argument: 'x'`},
		"twice":               {"named", `[1]`, `{"x": 1}`, ``, `named() got multiple values for argument 'x'`},
		"unexpected":          {"named", `[1]`, `{"z": 1}`, ``, `named() got an unexpected keyword argument 'z'`},
		"wrong named":         {"named", `[1.5]`, `{}`, ``, `named() argument 'x' must be int, not float`},
		"rest of kwargs":      {"rest", `[1]`, `{"a": 2, "b": null}`, `{"a": 2, "b": null, "x": 1}`, ``},
		"no rest":             {"rest", `[1]`, `{}`, `{"x": 1}`, ``},
		"variadic":            {"sum", `[1, 2.5, 3]`, `{}`, `6.5`, ``},
		"variadic none":       {"sum", `[]`, `{}`, `0.0`, ``},
		"variadic wrong":      {"sum", `[1, "x"]`, `{}`, ``, `sum() argument 2 must be float, not str`},
		"nothing":             {"none", `[]`, `{}`, `null`, ``},
		"record by keyword":   {"order", `[]`, `{"id": 3}`, `{"id": 3, "currency": "EUR", "note": null}`, ``},
		"record by position":  {"order", `[3, "USD"]`, `{"tags": ["a"]}`, `{"id": 3, "currency": "USD", "note": null, "tags": ["a"]}`, ``},
		"record lacks":        {"order", `[]`, `{}`, ``, `order() missing 1 required positional argument: 'id'`},
		"record wrong":        {"order", `[3]`, `{"tags": [1]}`, ``, `order() argument 'tags'[0] must be str, not int`},
		"record by pointer":   {"pointer", `[3]`, `{"tags": ["a"]}`, `{"id": 3, "currency": "EUR", "note": null, "tags": ["a"]}`, ``},
		"record surplus":      {"order", `[3, "USD", null, [], 5]`, `{}`, ``, `order() takes from 1 to 4 positional arguments but 5 were given`},
		"surplus of defaults": {"named", `[1, 2, 3]`, `{}`, ``, `named() takes from 1 to 2 positional arguments but 3 were given`},
		"value in rest":       {"ints", `[1, 2, "x"]`, `{}`, ``, `ints() argument 3 must be int, not str`},
		"value in unnamed":    {"lists", `[[1, "x"]]`, `{}`, ``, `lists() argument 1[1] must be int, not str`},
		"value in keywords":   {"kwints", `[]`, `{"a": 1, "b": "x"}`, ``, `kwints() argument **kw["b"] must be int, not str`},
		"too large":           {"add", `[1, 99999999999999999999]`, `{}`, ``, `add() argument 2 must be int that fits int64, not 99999999999999999999`},
		"result is no JSON":   {"raw", `[]`, `{}`, ``, `result of t.raw: malformed JSON: no value at byte 0`},
		"any":                 {"echo", `[{"a": [1, NaN, 123456789012345678901]}]`, `{}`, `{"a": [1, NaN, 123456789012345678901]}`, ``},
		"lone surrogate":      {"echo", `["\ud83d"]`, `{}`, `"\ud83d"`, ``},
		"args are no list":    {"add", `{"x": 1}`, `{}`, ``, `add() takes a list of arguments, not dict`},
		"kwargs are no dict":  {"named", `[1]`, `[1]`, ``, `named() takes a dict of keyword arguments, not list`},
		"panic in a result":   {"writes badly", `[]`, `{}`, ``, `panic: write`},
		"panic in a value":    {"reads badly", `[1]`, `{}`, ``, `panic: read`},
		"result without form": {"unwritable", `[]`, `{}`, ``, `result of t.unwritable: Object of type chan int is not JSON serializable`},
	}
	mux := testMux()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := mux.Lookup("t."+c.task).Call(t.Context(), pyjson.Raw(c.args), pyjson.Raw(c.kwargs))
			if c.fails != "" {
				if err == nil || err.Error() != c.fails {
					t.Fatalf("got %s, %v, want %s", got, err, c.fails)
				}
				return
			}
			if err != nil || string(got) != c.want {
				t.Fatalf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestExceptions(t *testing.T) {
	mux := testMux()
	call := func(task string) error {
		_, err := mux.Lookup(task).Call(t.Context(), pyjson.Raw("[]"), pyjson.Raw("{}"))
		return err
	}
	cases := map[string]struct {
		err  error
		want string
	}{
		"raised":    {call("t.fails"), `{"exc_type": "ValueError", "exc_message": ["boom", 42], "exc_module": "builtins"}`},
		"arguments": {call("t.add"), `{"exc_type": "TypeError", "exc_message": ["add() missing 2 required positional arguments: 1 and 2"], "exc_module": "builtins"}`},
		"result":    {call("t.unwritable"), `{"exc_type": "EncodeError", "exc_message": ["Object of type chan int is not JSON serializable"], "exc_module": "kombu.exceptions"}`},
		"cycle":     {call("t.cycle"), `{"exc_type": "EncodeError", "exc_message": ["write map[string]any as JSON: nested too deeply"], "exc_module": "kombu.exceptions"}`},
		"nil error": {call("t.nil error"), `{"exc_type": "Panic", "exc_message": ["runtime error: invalid memory address or nil pointer dereference"], "exc_module": "agensium"}`},
		"text":      {errors.New("no"), `{"exc_type": "RuntimeError", "exc_message": ["no"], "exc_module": "builtins"}`},
		"panic":     {call("t.panics"), `{"exc_type": "Panic", "exc_message": ["oh"], "exc_module": "agensium"}`},
		"soft":      {celery.ErrSoftLimit, `{"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"}`},
		"type":      {&pyjson.MismatchError{Want: "a", Got: "b"}, `{"exc_type": "MismatchError", "exc_message": ["must be a, not b"], "exc_module": "github.com.agensium.agensium.celery.pyjson"}`},
	}
	for name, c := range cases {
		if got := celery.ExceptionOf(c.err).AppendJSON(nil); string(got) != c.want {
			t.Errorf("%s: got %s", name, got)
		}
	}
	var p *celery.PanicError
	if err := call("t.panics"); !errors.As(err, &p) || !strings.Contains(string(p.Stack), "mux_test.go") {
		t.Errorf("the panic's stack does not lead here: %v", err)
	}
}

func TestHandleRefusesMistakes(t *testing.T) {
	handle := func(fn any, options ...celery.Option) func(*celery.Mux) {
		return func(m *celery.Mux) { celery.Handle(m, "x", fn, options...) }
	}
	cases := map[string]struct {
		register func(*celery.Mux)
		want     string // behind "celery: handle x: "
	}{
		"no function":      {handle(1), `not a function`},
		"too many results": {handle(func() (int, int, error) { return 0, 0, nil }), `returns more than a value and an error`},
		//lint:ignore ST1008 that is the mistake
		"error first":        {handle(func() (error, int) { return nil, 0 }), `returns error: an error is the last result, and of type error`},
		"error of a type":    {handle(func() *celery.Error { return nil }), `returns *celery.Error: an error is the last result, and of type error`},
		"result":             {handle(func() []chan int { return nil }), `result: Object of type chan int is not JSON serializable`},
		"context behind":     {handle(func(int, context.Context) {}), `a context is the first parameter or none`},
		"names":              {handle(func(int) {}, celery.Params("a", "b")), `2 names for 1 parameter`},
		"name twice":         {handle(func(int, int) {}, celery.Params("a", "a=1")), `two parameters named a`},
		"empty name":         {handle(func(int) {}, celery.Params("=1")), `parameter 1 has no name`},
		"star":               {handle(func(int) {}, celery.Params("*a")), `*a must be last and a variadic parameter`},
		"default of rest":    {handle(func(...int) {}, celery.Params("a=1")), `a takes what is left and has no default`},
		"default":            {handle(func(int) {}, celery.Params(`a="x"`)), `default of a: must be int, not str`},
		"default is no JSON": {handle(func(string) {}, celery.Params(`a=x`)), `default of a: x is not JSON, which has text in quotes: malformed JSON: no value at byte 0`},
		"rest is no map":     {handle(func(int) {}, celery.Params("**a")), `**a must be last and a map with string keys`},
		"no name":            {func(m *celery.Mux) { celery.Handle(m, "", func() {}) }, `a task needs a name`},
		"no mux":             {func(*celery.Mux) { celery.Handle(nil, "x", func() {}) }, `there is no mux: celery.NewMux makes one`},
		"argument":           {handle(func(map[string][]chan int) {}), `argument 1: nothing in a message becomes a chan int`},
		"argument's key":     {handle(func(map[[2]int]int) {}), `argument 1: no key of a dict in a message becomes a [2]int`},
		"argument's field":   {handle(func(struct{ F func() }) {}), `argument 'F': nothing in a message becomes a func()`},
		"field's default": {handle(func(struct {
			N int `default:"x"`
		}) {
		}), `default of N: x is not JSON, which has text in quotes: malformed JSON: no value at byte 0`},
		"default's type": {handle(func(struct {
			N int `default:"\"x\""`
		}) {
		}), `default of N: must be int, not str`},
		"rate":   {handle(func() {}, celery.RateLimit("10/d")), `rate limit "10/d" is not like 10/s, 10/m or 10/h`},
		"limits": {handle(func() {}, celery.Limits(2*time.Second, time.Second)), `soft time limit 2s above the hard one, 1s`},
		"delay":  {handle(func() {}, celery.RetryDelay(-1)), `a time below 0`},
		"taken":  {func(m *celery.Mux) { celery.Handle(m, "x", func() {}); celery.Handle(m, "x", func() {}) }, `the name is taken`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := strings.TrimPrefix(strings.TrimPrefix(fmt.Sprint(recover()), "celery: handle : "), "celery: handle x: "); got != c.want {
					t.Errorf("got %q", got)
				}
			}()
			c.register(celery.NewMux())
		})
	}
}

func TestKombuTypesReachTheHandler(t *testing.T) {
	mux := celery.NewMux()
	celery.Handle(mux, "t.types", func(when time.Time, id uuid.UUID, price pyjson.Decimal, data []byte, day pyjson.Date, f float64) []any {
		return []any{when.Year(), id, price, data, day, math.IsNaN(f)}
	})
	args := `[{"__type__": "datetime", "__value__": "2024-01-02T03:04:05+00:00"}, {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000001234"}},
		{"__type__": "decimal", "__value__": "1.10"}, {"__type__": "base64", "__value__": "//4="}, {"__type__": "date", "__value__": "2024-01-02"}, NaN]`
	got, err := mux.Lookup("t.types").Call(t.Context(), pyjson.Raw(args), pyjson.Raw("{}"))
	want := `[2024, {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000001234"}}, {"__type__": "decimal", "__value__": "1.10"}, ` +
		`{"__type__": "base64", "__value__": "//4="}, {"__type__": "date", "__value__": "2024-01-02"}, true]`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
}

func FuzzBind(f *testing.F) {
	f.Add(`[1, 2]`, `{}`)
	f.Add(`[]`, `{"id": 1, "currency": "x", "note": null, "tags": ["a"]}`)
	f.Add(`[{"__type__": "uuid", "__value__": {"hex": "0"}}]`, `{"x": NaN}`)
	f.Add("[", "{")
	f.Add(`[{"1": true}, [1, 2], 5, 1e400, 1.5]`, `{"d": {"__type__": "decimal", "__value__": "1"}}`)
	mux := testMux()
	type all struct {
		M map[int]bool           `json:"m"`
		A [2]int8                `json:"a"`
		D *time.Duration         `json:"d"`
		F float32                `json:"f"`
		X *pyjson.Decimal        `json:"x"`
		B map[bool]*big.Int      `json:"b"`
		T []time.Time            `json:"t"`
		N map[pyjson.Decimal]any `json:"n"`
		R pyjson.Raw             `json:"r,omitempty"`
	}
	celery.Handle(mux, "t.many", func(a all) all { return a })
	f.Fuzz(func(t *testing.T, args, kwargs string) {
		for _, name := range []string{"t.add", "t.named", "t.rest", "t.sum", "t.none", "t.order", "t.echo", "t.pointer", "t.ints", "t.lists", "t.kwints", "t.many"} {
			value, err := mux.Lookup(name).Call(t.Context(), pyjson.Raw(args), pyjson.Raw(kwargs))
			var p *celery.PanicError
			if errors.As(err, &p) {
				t.Fatalf("%s with %s and %s: %v\n%s", name, args, kwargs, p, p.Stack)
			}
			if err == nil && pyjson.Valid(value) != nil {
				t.Fatalf("%s with %s and %s gave %q", name, args, kwargs, value)
			}
		}
	})
}
