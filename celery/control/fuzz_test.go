package control

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// FuzzRequest has any message decoded, its audience found and its command run against a node without areas and one
// with all of them: each gives an answer that can be encoded, or an error.
func FuzzRequest(f *testing.F) {
	for _, e := range recorded(f, "5.6.2", "pidbox").Exchanges {
		for _, r := range e.Requests {
			f.Add([]byte(r.Raw))
		}
	}
	f.Add([]byte(`{"body":"{\"method\":\"ping\",\"pattern\":\"w[\",\"matcher\":\"glob\"}","content-type":"application/json"}`))
	empty, full := fuzzCommands(Node{}), fuzzCommands((&fakeNode{}).node())
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decodeRequest(raw)
		if err != nil {
			return
		}
		if _, err := r.to.includes("w1@fixturehost"); err != nil && !errors.Is(err, errPattern) && !errors.Is(err, errMatcher) && r.to.pattern != "" {
			t.Fatalf("pattern %q: %v", r.to.pattern, err)
		}
		for _, c := range []*commands{empty, full} {
			value, err := c.handle(t.Context(), r.method, r.arguments)
			if err != nil {
				value = failed(errorText(err))
			}
			if _, err := json.Marshal(map[string]any{"w1@fixturehost": value}); err != nil {
				t.Fatalf("answer to %s: %v", r.method, err)
			}
		}
	})
}

func fuzzCommands(of Node) *commands {
	log := hclog.NewNullLogger()
	closed := &link{closed: true} // Redis is never there
	clock := new(Clock)
	return &commands{
		node: "w1@fixturehost", of: of, clock: clock, log: log,
		revoked: newRevoked(100, 0, Names{}, closed, log),
		events:  newEvents("w1@fixturehost", EventOptions{}, Names{}, closed, clock, log),
	}
}

// FuzzArguments runs every command with any arguments.
func FuzzArguments(f *testing.F) {
	f.Add(`{}`)
	f.Add(`{"task_id":["a"],"terminate":true,"signal":9}`)
	f.Add(`{"headers":["a=b=c"],"rate_limit":"1/m","task_name":"x","n":-1}`)
	f.Add(`{"ids":"a","from_node":"x","revoked":{"a":[1,"a"]},"taskinfoitems":[1,"a"],"safe":0,"queue":"q","soft":1e300}`)
	c := fuzzCommands((&fakeNode{}).node())
	f.Fuzz(func(t *testing.T, text string) {
		var args Arguments
		if json.Unmarshal([]byte(text), &args) != nil {
			return
		}
		for method := range table {
			value, err := c.handle(context.Background(), method, args)
			if err != nil {
				value = failed(errorText(err))
			}
			if _, err := json.Marshal(value); err != nil {
				t.Fatalf("answer to %s: %v", method, err)
			}
		}
	})
}
