package monitoring

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agensium/agensium/supervisor/admin"
)

var metric = regexp.MustCompile(`\bagensium_[a-z_]+\b`)

// named returns the metrics that a text names.
func named(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := metric.FindAllString(string(text), -1)
	if len(found) == 0 {
		t.Fatalf("%s names no metric", file)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEachMetricThatIsNamedExists(t *testing.T) {
	exist := admin.Names()
	for _, file := range []string{"dashboard.json", "alerts.yml"} {
		for _, name := range named(t, file) {
			if !slices.Contains(exist, name) {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
	}
}

type board struct {
	Title  string
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

func dashboard(t *testing.T) board {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var b board
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDashboardIsOne(t *testing.T) {
	board := dashboard(t)
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("%s: a second panel %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: beyond the right edge", p.Title)
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s: shows nothing", p.Title)
		}
	}
	if board.Title != "agensium" || len(ids) < 10 {
		t.Errorf("%q with %d panels", board.Title, len(ids))
	}
}

func TestPromtoolAcceptsAlertsAndQueries(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: needs promtool: %v", err)
	}
	for _, file := range []string{"alerts.yml", queriesAsRules(t)} {
		if out, err := exec.Command(tool, "check", "rules", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// queriesAsRules writes the queries of the dashboard as recording rules, with values for Grafana's variables.
func queriesAsRules(t *testing.T) string {
	t.Helper()
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for _, p := range dashboard(t).Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*").Replace(target.Expr)
			rules = append(rules, rule{fmt.Sprintf("panel:%d:%d", p.ID, len(rules)), expr})
		}
	}
	text, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
