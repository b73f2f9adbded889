package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentile(t *testing.T) {
	for name, c := range map[string]struct {
		values  []float64
		p, want float64
	}{
		"median of an odd number":   {[]float64{3, 1, 2}, 50, 2},
		"median of an even number":  {[]float64{4, 1, 2, 3}, 50, 2.5},
		"one value is every":        {[]float64{7}, 99, 7},
		"the highest":               {[]float64{1, 2, 3}, 100, 3},
		"between the last two ones": {[]float64{0, 10, 20, 30, 40}, 95, 38},
	} {
		if got := percentile(c.values, c.p); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := percentile(nil, 50); !math.IsNaN(got) {
		t.Errorf("of nothing: %v, want NaN", got)
	}
}

func TestWhenAtOnce(t *testing.T) {
	spans := []span{{0, 10}, {5, 15}, {10, 20}, {12, 13}, {30, 31}}
	for n, want := range map[int]int64{1: 0, 2: 5, 3: 12} { // one ends at 10 and another begins: still two
		if got, err := whenAtOnce(spans, n); err != nil || got != want {
			t.Errorf("%d at once: %d, %v, want %d", n, got, err, want)
		}
	}
	if _, err := whenAtOnce(spans, 4); err == nil {
		t.Error("four were never at once")
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a) (b c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7"
	got, err := parseStat(line)
	if err != nil || got != (process{pid: 42, parent: 7, ticks: 127}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "42 name S 7", "42 (name) S 7", "42 (name) S x 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestProcessesFindsThisOne(t *testing.T) {
	tree, err := processes(os.Getpid())
	if err != nil || len(tree) == 0 || tree[0].parent != os.Getppid() {
		t.Errorf("%+v, %v", tree, err)
	}
}

func TestParseCommandStats(t *testing.T) {
	info := "# Commandstats\r\ncmdstat_brpop:calls=12,usec=3,usec_per_call=0.25,rejected_calls=0,failed_calls=0\r\ncmdstat_client|list:calls=2,usec=3\r\n"
	got, err := parseCommandStats(info)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(counts{"brpop": 12, "client|list": 2}, got); diff != "" {
		t.Error(diff)
	}
	rest := got.since(counts{"brpop": 10, "client|list": 2})
	if diff := cmp.Diff(counts{"brpop": 2}, rest); diff != "" || rest.total() != 2 {
		t.Error(diff)
	}
}

const envelope = `{"body": "W1sicGF0aCJdLCB7ImsiOiAxfSwgeyJjaGFpbiI6IG51bGx9XQ==", "content-type": "application/json", "headers": {"task": "bench.stamp", ` +
	`"id": "11111111-1111-1111-1111-111111111111", "root_id": "11111111-1111-1111-1111-111111111111"}, "properties": {"correlation_id": ` +
	`"11111111-1111-1111-1111-111111111111", "delivery_info": {"exchange": "", "routing_key": "template.bench.stamp"}, "delivery_tag": "22222222-2222-2222-2222-222222222222"}}`

func TestCopyIsAnotherTask(t *testing.T) {
	out, err := json.Marshal(map[string]string{"bench.stamp": envelope})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := parseMessages(out)
	if err != nil {
		t.Fatal(err)
	}
	m := messages["bench.stamp"]
	id, raw, err := m.copy([]any{"other", 2})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(raw, "1111") || strings.Contains(raw, "2222") || strings.Contains(raw, "template") {
		t.Errorf("marks of the template are left: %s", raw)
	}
	if n := strings.Count(raw, id); n != 3 {
		t.Errorf("the id stands %d times in it, want 3: %s", n, raw)
	}
	again, err := parseMessage("bench.stamp", raw)
	if err != nil {
		t.Fatal(err)
	}
	body, err := base64.StdEncoding.DecodeString(again.body)
	if want := `[["other",2], {"k": 1}, {"chain": null}]`; err != nil || string(body) != want {
		t.Errorf("body %s, %v, want %s", body, err, want)
	}
	if _, kept, err := m.copy(nil); err != nil || !strings.Contains(kept, m.body) {
		t.Errorf("nil does not keep the arguments: %s, %v", kept, err)
	}
	for _, bad := range []string{`{}`, `{"body": "?"}`, `{"body": "W10="}`, `no JSON`} {
		if _, err := parseMessage("x", bad); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestTable(t *testing.T) {
	r := newReport(settings{workers: defaultWorkers, runs: 3, tasks: 10}, map[string]string{"cores": "2"})
	m := measurement{name: "m", figures: []figure{
		{key: "rate", title: "rate", more: true, goal: goal{times: 8}},
		{key: "cost", title: "cost", goal: goal{bound: 0.22}},
		{key: "size", title: "size"},
	}}
	for _, rate := range []float64{900, 1000, 5} {
		r.add(m, "celery", figures{"rate": rate, "cost": 1.5})
	}
	r.add(m, "agensium", figures{"rate": 9000, "cost": 0.25, "size": 3})
	r.fail("m", "celery", errors.New("broke"))
	table := r.markdown()
	for _, want := range []string{
		"| figure | celery | agensium | times better | to reach |  |\n",
		"| rate | 900 | 9000 | 10 | ≥ 8 × | yes |\n",
		"| cost | 1.50 | 0.25 | 6 | ≤ 0.22 | no |\n",
		"| size | – | 3 | – |  |  |\n",
		"failed: m, celery: broke\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("lacks %q:\n%s", want, table)
		}
	}
	if path, err := r.save(t.TempDir(), time.Unix(0, 0)); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		status int
		said   string
	}{
		"help":                {[]string{"-h"}, 0, "throughput"},
		"unknown flag":        {[]string{"-x"}, 2, "-x"},
		"unknown measurement": {[]string{"-only", "idle,what"}, 2, `no measurement "what"`},
		"no command":          {[]string{"-worker", "agensium"}, 2, "NAME=COMMAND"},
		"no runs":             {[]string{"-runs", "0"}, 2, "positive"},
		"no environment":      {[]string{"-venv", "nowhere", "-out", t.TempDir()}, 1, "make venvs"},
	} {
		var out, said bytes.Buffer
		if status := run(t.Context(), c.args, &out, &said); status != c.status || !strings.Contains(said.String(), c.said) {
			t.Errorf("%s: status %d, want %d; said %s", name, status, c.status, said.String())
		}
	}
}
