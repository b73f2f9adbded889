package simulate

import (
	"fmt"
	"io"
	"time"

	"github.com/agensium/agensium/supervisor/autoscale"
)

// What every rule of the table is given.
const (
	tableMax   = 32
	tableMin   = 1
	tableSLO   = 30 * time.Second
	tableStart = 100 * time.Millisecond
)

// Row is one rule on one load: executor-hours over the oracle's, and the share of tasks that started within the SLO.
type Row struct {
	Load, Rule string
	Hours      float64
	Share      float64
	Front      bool // no other rule is at least as good in both and better in one
}

// Table plays every rule on every load.
func Table(seed uint64) []Row {
	opt := Options{Start: tableStart, Initial: tableMin}
	slo := autoscale.Policy{Min: tableMin, Max: tableMax, SLO: tableSLO}
	eager := autoscale.Range(tableMax, tableMin)
	rules := []struct {
		name string
		make func() Rule
	}{
		{"agensium", func() Rule { return newOurs(slo, opt) }},
		{"agensium --autoscale", func() Rule { return newOurs(eager, opt) }},
		{"Celery --autoscale", func() Rule { return &celeryRule{max: tableMax, min: tableMin} }},
		{"KEDA list length", func() Rule { return &kedaRule{max: tableMax, min: tableMin} }},
		{"step on latency", func() Rule { return &stepRule{max: tableMax, min: tableMin, size: tableMin, slo: tableSLO} }},
		{"fixed 4", func() Rule { return fixedRule(4) }},
		{"fixed 32", func() Rule { return fixedRule(tableMax) }},
	}
	var rows []Row
	for _, load := range Loads(seed) {
		first := len(rows)
		oracle := Oracle(load, tableMin, tableMax)
		rows = append(rows, Row{Load: load.Name, Rule: "oracle", Hours: 1, Share: oracle.share()})
		for _, r := range rules {
			result := Run(load, tableSLO, opt, r.make())
			rows = append(rows, Row{Load: load.Name, Rule: r.name, Hours: result.Hours / oracle.Hours, Share: result.share()})
		}
		mark(rows[first+1:])
	}
	return rows
}

func (r Result) share() float64 { return float64(r.InTime) / float64(max(1, r.Tasks)) }

// mark finds the front: differences that the table does not show do not count.
func mark(rows []Row) {
	hours := func(r Row) int { return int(r.Hours*100 + 0.5) }
	share := func(r Row) int { return int(r.Share*1000 + 0.5) }
	for i, a := range rows {
		rows[i].Front = true
		for _, b := range rows {
			if hours(b) <= hours(a) && share(b) >= share(a) && (hours(b) < hours(a) || share(b) > share(a)) {
				rows[i].Front = false
			}
		}
	}
}

// Oracle knows the future: an executor is there exactly while it runs a task. No schedule takes fewer hours than the work itself, or
// than the minimum that is kept, whichever is more; none that has at most `most` executors starts more tasks in time than one
// that always has them all.
func Oracle(load Load, least, most int) Result {
	result := Run(load, tableSLO, Options{Initial: most}, fixedRule(most))
	var work time.Duration
	for _, t := range load.Tasks {
		work += t.Service
	}
	if load.Slowdown == nil {
		result.Hours = result.Work // with the retries of an outage
	} else {
		result.Hours = work.Hours()
	}
	result.Hours = max(result.Hours, float64(least)*(load.Until+tail).Hours())
	return result
}

// Print writes the table as Markdown.
func Print(w io.Writer, rows []Row) {
	load := ""
	fmt.Fprintln(w, "| load | rule | executor-hours ÷ oracle's | started within the SLO | front |")
	fmt.Fprintln(w, "|---|---|---:|---:|:-:|")
	for _, r := range rows {
		name, front := r.Load, ""
		if name == load {
			name = ""
		}
		load = r.Load
		if r.Front {
			front = "●"
		}
		fmt.Fprintf(w, "| %s | %s | %.2f | %.1f %% | %s |\n", name, r.Rule, r.Hours, 100*r.Share, front)
	}
}
