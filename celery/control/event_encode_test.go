package control

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestEventIsJSONWhateverItSays(t *testing.T) {
	e := newEventEncoder("w\"1@höst\n")
	now := time.Unix(1_795_401_820, 37_307_000)
	for name, text := range map[string]string{
		"plain": "(1, 2)", "quotes": `"\'`, "control": "a\x00\x1f\n", "beyond ASCII": "ä\u2028😀", "no UTF-8": "\xff\xfe", "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			body, err := e.encode("task-succeeded", now, 3, []field{{"result", text}})
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Result, Hostname, Type string
				Clock                  int
				Timestamp              float64
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if name != "no UTF-8" && got.Result != text {
				t.Errorf("result %q, want %q", got.Result, text)
			}
			if got.Hostname != e.node || got.Type != "task-succeeded" || got.Clock != 3 || got.Timestamp != 1_795_401_820.037307 {
				t.Errorf("fields: %+v", got)
			}
		})
	}
}

// What is a float in Celery's events is one in ours, whole numbers too.
func TestFloatsAreFloatsToPython(t *testing.T) {
	body, err := newEventEncoder("w1@host").encode("worker-heartbeat", time.Unix(1, 0), 3, []field{
		{"freq", 2.0}, {"active", 1}, {"loadavg", [3]float64{1, 0.25, 12}}, {"runtime", 5.2e-7}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `"freq":2.0,"active":1,"loadavg":[1.0,0.25,12.0],"runtime":5.2e-07,`; !strings.Contains(string(body), want) {
		t.Errorf("%s lacks %s", body, want)
	}
}
