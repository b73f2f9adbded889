package admin

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var update = flag.Bool("update", false, "write METRICS.md anew")

// whole is a sample in which nothing is missing.
func whole() *Sample {
	return &Sample{
		Version: "v1", Phase: "consuming", Phases: []string{"starting", "consuming", "resting", "draining"}, Ready: true,
		Slots:  &Slots{States: map[string]int{"starting": 0, "idle": 1, "busy": 3, "leaving": 0}, Target: 4, Most: 8, Bounds: []string{"memory"}},
		Broker: &Broker{Connected: true, Condition: "loading", Commands: map[string]uint64{"claim": 7}},
		Queues: []Queue{{Name: "celery", Due: 2, Oldest: 1500 * time.Millisecond}}, Lying: &Lying{Parked: 1, Dead: 2}, Memory: &Memory{Children: 9, Largest: 5},
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d, %v: %s", w.Code, err, body)
	}
	return string(body)
}

func TestTableInMETRICSmdIsTheRegistry(t *testing.T) {
	const file, mark = "METRICS.md", "<!-- table -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), mark)
	if len(parts) != 3 {
		t.Fatalf("%s has %d marks %q, want 2", file, len(parts)-1, strings.TrimSpace(mark))
	}
	if *update {
		if err := os.WriteFile(file, []byte(parts[0]+mark+"\n"+Table()+"\n"+mark+parts[2]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff("\n"+Table()+"\n", parts[1]); diff != "" {
		t.Errorf("%s differs from the metrics (go test -run Table -update writes it): %s", file, diff)
	}
}

func TestEveryMetricOfTheTableIsServedAndNoOther(t *testing.T) {
	m := NewMetrics(func(context.Context) *Sample { return whole() })
	m.Ended("shop.pay", Success, time.Second)
	m.Waited("celery", time.Second)
	m.ChildStarted(time.Millisecond)
	m.ChildLeft("crashed")
	var served []string
	for _, found := range regexp.MustCompile(`(?m)^(agensium_\w+?)[{ ]`).FindAllStringSubmatch(scrape(t, m), -1) {
		served = append(served, found[1])
	}
	slices.Sort(served)
	if diff := cmp.Diff(Names(), slices.Compact(served)); diff != "" {
		t.Error(diff)
	}
}

func TestMetricsFollowPrometheusConventions(t *testing.T) {
	m := NewMetrics(func(context.Context) *Sample { return whole() })
	m.Ended("shop.pay", Success, time.Second)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestScrapeShowsWhatHappened(t *testing.T) {
	m := NewMetrics(func(context.Context) *Sample { return whole() })
	m.Ended("shop.pay", Success, 200*time.Millisecond)
	m.Ended("shop.pay", Success, 2*time.Second)
	m.Ended("shop.pay", Expired, 0)
	text := scrape(t, m)
	for _, want := range []string{
		`agensium_tasks_total{outcome="success",task="shop.pay"} 2`,
		`agensium_tasks_total{outcome="expired",task="shop.pay"} 1`,
		`agensium_task_run_seconds_count{task="shop.pay"} 2`,
		`agensium_task_run_seconds_bucket{task="shop.pay",le="0.5"} 1`,
		`agensium_queue_oldest_seconds{queue="celery"} 1.5`,
		`agensium_slots{state="busy"} 3`,
		`agensium_phase{phase="consuming"} 1`, `agensium_phase{phase="draining"} 0`,
		`agensium_redis_commands_total{purpose="claim"} 7`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
}

func TestNamesOfTasksAreBounded(t *testing.T) {
	m := NewMetrics(func(context.Context) *Sample { return nil })
	for i := range 10 * maxTasks {
		m.Ended(fmt.Sprint("task", i), Failure, time.Second)
		m.Waited(fmt.Sprint("queue", i), 0)
	}
	if n := testutil.CollectAndCount(m.ended); n != maxTasks+1 {
		t.Errorf("%d names of tasks, want %d and one for the rest", n, maxTasks)
	}
	if n := testutil.CollectAndCount(m.wait); n != maxQueues+1 {
		t.Errorf("%d names of queues, want %d and one for the rest", n, maxQueues)
	}
	if got := testutil.ToFloat64(m.ended.WithLabelValues(other, "failure")); got != 9*maxTasks {
		t.Errorf("%v tasks under %s, want %d", got, other, 9*maxTasks)
	}
}

func TestBeforeAnythingIsKnownAScrapeIsFine(t *testing.T) {
	m := NewMetrics(func(context.Context) *Sample { return &Sample{Phase: "starting", Phases: []string{"starting"}} })
	if text := scrape(t, m); !strings.Contains(text, "agensium_ready 0\n") || strings.Contains(text, "agensium_queue_depth{") {
		t.Error(text)
	}
}

func BenchmarkEnded(b *testing.B) {
	m := NewMetrics(func(context.Context) *Sample { return nil })
	b.ReportAllocs()
	for b.Loop() {
		m.Ended("shop.pay", Success, time.Second)
	}
}
