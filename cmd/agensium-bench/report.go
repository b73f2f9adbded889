package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report gathers samples and lays them out.
type report struct {
	Environment map[string]string               `json:"environment"`
	Workers     workers                         `json:"workers"`
	Runs        int                             `json:"runs"`
	Tasks       int                             `json:"tasks"`
	Samples     map[string]map[string][]float64 `json:"samples"` // figure → worker → one value per run
	Failures    []string                        `json:"failures,omitempty"`
	measured    []measurement
}

func newReport(s settings, environment map[string]string) *report {
	return &report{Environment: environment, Workers: s.workers, Runs: s.runs, Tasks: s.tasks, Samples: map[string]map[string][]float64{}}
}

func (r *report) add(m measurement, worker string, found figures) {
	if !slices.ContainsFunc(r.measured, func(o measurement) bool { return o.name == m.name }) {
		r.measured = append(r.measured, m)
	}
	for key, value := range found {
		if r.Samples[key] == nil {
			r.Samples[key] = map[string][]float64{}
		}
		r.Samples[key][worker] = append(r.Samples[key][worker], value)
	}
}

func (r *report) fail(measurement, worker string, err error) {
	r.Failures = append(r.Failures, fmt.Sprintf("%s, %s: %v", measurement, worker, err))
}

// markdown is the table: medians, the ratio of the last worker to the first as times better, and what is to be reached.
func (r *report) markdown() string {
	var text strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | ")) }
	head, rule := []string{"figure"}, []string{"---"}
	for _, w := range r.Workers {
		head, rule = append(head, w.Name), append(rule, "--:")
	}
	if len(r.Workers) > 1 {
		head, rule = append(head, "times better"), append(rule, "--:")
	}
	row(append(head, "to reach", "")...)
	row(append(rule, "--:", "---")...)
	for _, m := range r.measured {
		for _, f := range m.figures {
			row(r.cells(f)...)
		}
	}
	text.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(r.Environment)) {
		fmt.Fprintf(&text, "%s %s; ", name, r.Environment[name])
	}
	fmt.Fprintf(&text, "medians of %d alternating runs, %d tasks\n", r.Runs, r.Tasks)
	for _, w := range r.Workers {
		fmt.Fprintf(&text, "\n    %s: %s\n", w.Name, w.Command)
	}
	for _, failure := range r.Failures {
		fmt.Fprintf(&text, "\nfailed: %s\n", failure)
	}
	return text.String()
}

func (r *report) cells(f figure) []string {
	cells := []string{f.title}
	medians := make([]float64, len(r.Workers))
	for i, w := range r.Workers {
		medians[i] = percentile(r.Samples[f.key][w.Name], 50)
		cells = append(cells, format(medians[i]))
	}
	first, last := medians[0], medians[len(medians)-1]
	ratio := first / last
	if f.more {
		ratio = last / first
	}
	if len(medians) > 1 {
		cells = append(cells, format(ratio))
	} else {
		ratio = math.NaN()
	}
	wanted, reached := f.goal.judge(last, ratio)
	if r.Workers[len(r.Workers)-1].Name != "agensium" {
		reached = "" // the goals are ours
	}
	return append(cells, wanted, reached)
}

// judge says what is to be reached and whether it is; the second is empty if there is nothing to compare.
func (g goal) judge(value, ratio float64) (wanted, reached string) {
	var ok bool
	switch {
	case g.times > 0:
		wanted, ok, value = "≥ "+format(g.times)+" ×", ratio >= g.times, ratio
	case g.zero:
		wanted, ok = "0", value == 0
	case g.bound > 0:
		wanted, ok = "≤ "+format(g.bound), value <= g.bound
	default:
		return "", ""
	}
	switch {
	case math.IsNaN(value):
		return wanted, ""
	case ok:
		return wanted, "yes"
	}
	return wanted, "no"
}

// save writes markdown and JSON beside each other and returns the path of the first.
func (r *report) save(dir string, now time.Time) (string, error) {
	base := filepath.Join(dir, now.UTC().Format("20060102-150405"))
	document, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(base+".json", append(document, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("save the report: %w", err)
	}
	if err := os.WriteFile(base+".md", []byte(r.markdown()), 0o644); err != nil {
		return "", fmt.Errorf("save the report: %w", err)
	}
	return base + ".md", nil
}

// percentile returns the value below which p percent lie, between neighbours in proportion; NaN if there is none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := p / 100 * float64(len(sorted)-1)
	below := int(rank)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (rank-float64(below))*(sorted[below+1]-sorted[below])
}

// format writes three significant digits, and whole numbers in full.
func format(value float64) string {
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return "–"
	case math.Abs(value) >= 100 || value == math.Trunc(value):
		return fmt.Sprintf("%.0f", value)
	case math.Abs(value) >= 10:
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.2f", value)
}
