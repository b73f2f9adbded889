package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Change is a setting that differs between two configurations. Old and New are as TOML writes them, without secrets; empty is a
// setting that is not there, such as one of a task that has no table any more.
type Change struct {
	Key, Old, New string
	Effect        Effect
}

// Diff is what has changed from one configuration to another, by key.
func Diff(before, after *Config) []Change {
	type side struct {
		text string
		v    any
		m    meta
	}
	collect := func(c *Config) map[string]side {
		all := map[string]side{}
		walk(reflect.ValueOf(c).Elem(), nil, meta{}, func(path []string, v reflect.Value, m meta) {
			all[key(path...)] = side{format(v, m), v.Interface(), m}
		})
		return all
	}
	a, b := collect(before), collect(after)
	var changes []Change
	for name, x := range a {
		if y, ok := b[name]; !ok || !reflect.DeepEqual(normal(x.v), normal(y.v)) {
			changes = append(changes, Change{name, x.text, y.text, x.m.effect})
		}
	}
	for name, y := range b {
		if _, ok := a[name]; !ok {
			changes = append(changes, Change{name, "", y.text, y.m.effect})
		}
	}
	slices.SortFunc(changes, func(x, y Change) int { return cmp.Compare(x.Key, y.Key) })
	return changes
}

// normal makes an empty list and none the same.
func normal(x any) any {
	if v := reflect.ValueOf(x); v.Kind() == reflect.Slice && v.Len() == 0 {
		return nil
	}
	return x
}

// Setting is one line of `agensium config show`.
type Setting struct {
	Key    string
	Value  string // as TOML writes it, without secrets
	Origin Origin
}

// Settings are all settings with their origin, in the order of the reference file.
func (e *Effective) Settings() []Setting {
	var all []Setting
	walk(reflect.ValueOf(e.Config).Elem(), nil, meta{}, func(path []string, v reflect.Value, m meta) {
		all = append(all, Setting{key(path...), format(v, m), e.Origins[key(path...)]})
	})
	return all
}

// format writes a value as TOML has it, without what is secret in it.
func format(v reflect.Value, m meta) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return `"` + FormatDuration(x) + `"`
	case Size:
		return `"` + x.String() + `"`
	case RateLimit:
		if x.Global {
			return fmt.Sprintf("{ limit = %q, global = true }", x.Limit)
		}
		return strconv.Quote(x.Limit)
	case string:
		switch {
		case m.secret == "all" && x != "":
			return `"` + hidden + `"`
		case m.secret == "url":
			x = Mask(x)
		}
		return tomlString(x)
	case []string:
		parts := make([]string, len(x))
		for i, s := range x {
			parts[i] = tomlString(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case []int:
		return strings.ReplaceAll(fmt.Sprint(x), " ", ", ")
	default:
		return fmt.Sprint(x)
	}
}

// tomlString writes a basic string of TOML.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
