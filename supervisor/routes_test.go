package supervisor

import (
	"encoding/json"
	"testing"
)

func TestRouter(t *testing.T) {
	tests := map[string]struct{ conf, task, want string }{
		"by name":                 {`{"a.b": {"queue": "x"}}`, "a.b", "x"},
		"name alone":              {`{"a.b": "x"}`, "a.b", "x"},
		"by pattern":              {`{"a.*": {"queue": "x"}}`, "a.b.c", "x"},
		"name before pattern":     {`{"a.*": {"queue": "x"}, "a.b": {"queue": "y"}}`, "a.b", "y"},
		"longest pattern":         {`{"a.*": {"queue": "x"}, "a.b.*": {"queue": "y"}}`, "a.b.c", "y"},
		"list":                    {`[{"a": {"queue": "x"}}, {"b": {"queue": "y"}}]`, "b", "y"},
		"function is left out":    {`["<function route at 0x7f>"]`, "a", ""},
		"no queue":                {`{"a": {"priority": 3}}`, "a", ""},
		"nobody's":                {`{"a": {"queue": "x"}}`, "b", ""},
		"not set":                 {`null`, "a", ""},
		"bad pattern fits nobody": {`{"a[": {"queue": "x"}}`, "a[", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var conf any
			if err := json.Unmarshal([]byte(test.conf), &conf); err != nil {
				t.Fatal(err)
			}
			got := ""
			if route := router(conf); route != nil {
				got = route(test.task)
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
