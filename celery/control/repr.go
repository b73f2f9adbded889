package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// quote is Python's repr of a string.
func quote(s string) string {
	mark := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		mark = '"'
	}
	var b strings.Builder
	b.WriteRune(mark)
	for _, r := range s {
		switch {
		case r == mark || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteRune(mark)
	return b.String()
}

// quoteSet is Python's repr of a set of strings, in the order given.
func quoteSet(items []string) string {
	if len(items) == 0 {
		return "set()"
	}
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return "{" + strings.Join(quoted, ", ") + "}"
}

// pyValue is Python's repr of a JSON value. The keys of an object are sorted, their order having been lost.
func pyValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return quote(v)
	case json.Number:
		return v.String()
	case []any:
		items := make([]string, len(v))
		for i, e := range v {
			items[i] = pyValue(e)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		items := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			items = append(items, quote(k)+": "+pyValue(v[k]))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// quoteSets is Python's repr of the dictionary in which Celery gathers the stamps that it found, the members being
// reprs already.
func quoteSets(sets map[string][]string) string {
	items := make([]string, 0, len(sets))
	for _, k := range slices.Sorted(maps.Keys(sets)) {
		items = append(items, quote(k)+": {"+strings.Join(sets[k], ", ")+"}")
	}
	return "defaultdict(<class 'set'>, {" + strings.Join(items, ", ") + "})"
}
