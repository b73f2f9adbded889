package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with the settings. It never holds a secret.
type Problem struct {
	File    string // the TOML file, ".env", "environment", "command line", "redis version 7"
	Line    int    // 0 if there is none
	Key     string // the setting, as it is written in TOML; empty if it concerns the whole file
	Message string
	Hint    string // what to do; may be empty
}

// String is the problem on one line, without the hint.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		fmt.Fprintf(&b, ": %s", p.Key)
	}
	return strings.TrimPrefix(b.String()+": "+p.Message, ": ")
}

// Problems is the error of [Load]: everything that is wrong, by file and line.
type Problems []Problem

// Error is all problems, one on each line, with their hints.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
		if problem.Hint != "" {
			lines[i] += " (" + problem.Hint + ")"
		}
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	return p
}

// Note is something that an operator should know and that stops nobody.
type Note struct {
	Key  string // may be empty
	Text string
}

// String is the note on one line.
func (n Note) String() string { return strings.TrimPrefix(n.Key+" "+n.Text, " ") }

// nearest is the candidate that is most like name, or "" if none is like it.
func nearest(name string, candidates []string) string {
	best, least := "", max(2, len(name)/3)+1
	fold := strings.NewReplacer("-", "_").Replace(strings.ToLower(name))
	for _, c := range candidates {
		if d := distance(fold, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, drop, change or swap to make b of a.
func distance(a, b string) int {
	if a == b {
		return 0
	}
	if len(a) > 100 || len(b) > 100 {
		return 1000
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
