package simulate

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/agensium/agensium/supervisor/autoscale"
)

// TableOptions are what every rule is given.
type TableOptions struct {
	Seeds    []uint64
	Min, Max int
	SLO      time.Duration
	Start    time.Duration // of an executor
}

// DefaultTable is the table of the README.
func DefaultTable() TableOptions {
	return TableOptions{Seeds: []uint64{1, 2, 3}, Min: 1, Max: 32, SLO: autoscale.DefaultSLO, Start: 100 * time.Millisecond}
}

// Row is one rule on one load, the mean over the seeds: executor-hours over the oracle's, and the share of tasks that started
// within the SLO.
type Row struct {
	Load, Rule string
	Hours      float64
	Share      float64
	Front      bool // no other rule is at least as good in both and better in one
}

// contestant is a rule that starts afresh for each load.
type contestant struct {
	name  string
	fresh func() Rule
}

func contestants(t TableOptions, opt Options) []contestant {
	slo := autoscale.Policy{Min: t.Min, Max: t.Max, SLO: t.SLO}
	return []contestant{
		{"agensium", func() Rule { return newOurs(slo, opt) }},
		{"agensium --autoscale", func() Rule { return newOurs(autoscale.Range(t.Max, t.Min), opt) }},
		{"Celery --autoscale", func() Rule { return &celeryRule{max: t.Max, min: t.Min} }},
		{"KEDA list length", func() Rule { return &kedaRule{max: t.Max, min: t.Min} }},
		{"±1 on latency", func() Rule { return &stepRule{max: t.Max, min: t.Min, size: t.Min, slo: t.SLO} }},
		{"fixed 4", func() Rule { return fixedRule(4) }},
		{fmt.Sprint("fixed ", t.Max), func() Rule { return fixedRule(t.Max) }},
	}
}

// Table plays every rule on every load.
func Table(t TableOptions) []Row {
	opt := Options{Start: t.Start, Initial: t.Min}
	rules := contestants(t, opt)
	var rows []Row
	for _, seed := range t.Seeds {
		for i, load := range Loads(seed) {
			first := i * (len(rules) + 1)
			if len(rows) == first {
				rows = append(rows, Row{Load: load.Name, Rule: "oracle"})
				for _, r := range rules {
					rows = append(rows, Row{Load: load.Name, Rule: r.name})
				}
			}
			oracle := Oracle(load, t)
			rows[first].add(1, oracle.share(), len(t.Seeds))
			for j, r := range rules {
				result := Run(load, t.SLO, opt, r.fresh())
				rows[first+1+j].add(result.Hours/oracle.Hours, result.share(), len(t.Seeds))
			}
		}
	}
	for first := 0; first < len(rows); first += len(rules) + 1 {
		mark(rows[first+1 : first+1+len(rules)])
	}
	return rows
}

func (r *Row) add(hours, share float64, of int) {
	r.Hours += hours / float64(of)
	r.Share += share / float64(of)
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
// than the minimum that is kept, whichever is more; and hardly any starts more tasks in time than one that always has the
// maximum.
func Oracle(load Load, t TableOptions) Result {
	result := Run(load, t.SLO, Options{Initial: t.Max}, fixedRule(t.Max))
	var work time.Duration
	for _, task := range load.Tasks {
		work += task.Service
	}
	if load.Slowdown == nil {
		result.Hours = result.Work // with the retries of an outage
	} else {
		result.Hours = work.Hours()
	}
	result.Hours = max(result.Hours, float64(t.Min)*(load.Until+tail).Hours())
	return result
}

// Print writes the table as Markdown: a line for each load, a column for each rule, bold what is at the front.
func Print(w io.Writer, rows []Row) {
	each := slices.IndexFunc(rows, func(r Row) bool { return r.Load != rows[0].Load })
	fmt.Fprint(w, "| load |")
	for _, r := range rows[:each] {
		fmt.Fprintf(w, " %s |", r.Rule)
	}
	fmt.Fprintln(w, "\n|---|"+strings.Repeat("--:|", each))
	for load := range slices.Chunk(rows, each) {
		fmt.Fprintf(w, "| %s |", load[0].Load)
		for _, r := range load {
			cell := fmt.Sprintf("%.2f, %.1f %%", r.Hours, 100*r.Share)
			if r.Front {
				cell = "**" + cell + "**"
			}
			fmt.Fprintf(w, " %s |", cell)
		}
		fmt.Fprintln(w)
	}
}
