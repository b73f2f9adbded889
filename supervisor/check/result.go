package check

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/agensium/agensium/celery/redisconn"
)

// Mark is how a step went.
type Mark string

// The marks.
const (
	OK      Mark = "ok"
	Warning Mark = "warning" // works, and deserves a look
	Failed  Mark = "failed"  // agensium cannot work like this
)

var signs = map[Mark]string{OK: "✓", Warning: "!", Failed: "✗"}

// Result is what one step found. None of its texts holds a secret.
type Result struct {
	Name  string `json:"name"`
	Mark  Mark   `json:"mark"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`  // what to do
	Cause string `json:"cause,omitempty"` // name of the redisconn.Condition, if there is one
}

// Write prints the result on one line, and its hint below.
func (r Result) Write(w io.Writer) {
	width := 11
	if strings.HasPrefix(r.Name, forResultsPrefix) {
		width += len(forResultsPrefix)
	}
	indent := func(s string) string { return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", width+3)) }
	fmt.Fprintf(w, "%s %-*s %s\n", signs[r.Mark], width, r.Name, indent(r.Text))
	if r.Hint != "" {
		fmt.Fprintf(w, "  %-*s → %s\n", width, "", indent(r.Hint))
	}
}

// Report is the results of all steps in their order.
type Report []Result

// OK tells whether nothing failed. Warnings do not count.
func (r Report) OK() bool { return r.Count(Failed) == 0 }

// Count is the number of results with a mark.
func (r Report) Count(m Mark) (n int) {
	for _, result := range r {
		if result.Mark == m {
			n++
		}
	}
	return n
}

// WriteJSON prints the report as one JSON document: ok, and steps as [Result] has them.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		OK    bool   `json:"ok"`
		Steps Report `json:"steps"`
	}{r.OK(), r})
}

func ok(name, format string, args ...any) Result { return result(name, OK, "", format, args...) }

func warning(name, hint, format string, args ...any) Result {
	return result(name, Warning, hint, format, args...)
}

func failed(name, hint, format string, args ...any) Result {
	return result(name, Failed, hint, format, args...)
}

func result(name string, m Mark, hint, format string, args ...any) Result {
	return Result{Name: name, Mark: m, Hint: hint, Text: redisconn.Mask(fmt.Sprintf(format, args...))}
}

// refused is a step that an error of the network or an answer of Redis ended.
func refused(name, doing string, err error) Result {
	c := redisconn.Classify(err)
	r := failed(name, c.Hint, "%s: %v", doing, err)
	r.Cause = c.Name
	return r
}
