package celery

import (
	"strings"
	"testing"
)

func TestBodiesAreOpenedAsPythonDoes(t *testing.T) {
	cases := map[string]struct{ body, args, fails string }{
		"protocol 2":           {`[[1], {"x": 2}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]`, `[1] {"x": 2}`, ``},
		"embed is null":        {`[[1], {}, null]`, `[1] {}`, ``},
		"protocol 1":           {`{"args": [1], "kwargs": {"x": 2}, "task": "t.x", "id": "1"}`, `[1] {"x": 2}`, ``},
		"protocol 1, no args":  {`{"args": null, "task": "t.x", "id": "1"}`, `[] {}`, ``},
		"two parts":            {`[[1], {}]`, ``, `a list of 2 instead of args, kwargs and embed`},
		"not UTF-8":            {"[[\"\xff\"], {}, {}]", ``, `it is not UTF-8`},
		"surrogate in UTF-8":   {"[[\"\xed\xa0\xbd\"], {}, {}]", ``, `it is not UTF-8`},
		"surrogate, escaped":   {`[["\ud83d"], {}, {}]`, `["\ud83d"] {}`, ``},
		"a chain of non-tasks": {`[[], {}, {"chain": [{"x": 1}]}]`, ``, `no task in it`},
	}
	for name, c := range cases {
		r, err := Open(&Task{ID: "1", Name: "t.x", ContentType: "application/json"}, []byte(c.body), "q", nil)
		switch {
		case c.fails != "":
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: got %v, want %s", name, err, c.fails)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case string(r.Args)+" "+string(r.Kwargs) != c.args:
			t.Errorf("%s: got %s %s", name, r.Args, r.Kwargs)
		}
	}
}
