package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder writes the settings of one document into the builder's configuration.
type decoder struct {
	*builder
	doc *document
}

// table decodes tree into the struct v. path names it for people, where for the line numbers: the two differ in lists.
func (d *decoder) table(path []string, where string, tree map[string]any, v reflect.Value, parent meta) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		x, here, at := tree[name], append(slices.Clip(path), name), join(where, name)
		f, m, ok := fieldNamed(v, name, parent)
		if !ok {
			sub, isTable := x.(map[string]any)
			if f, m, ok = fieldNamed(v, "*", parent); !ok || !isTable {
				d.unknown(here, at, v)
				continue
			}
			d.named(here, at, name, sub, f, m)
			continue
		}
		switch {
		case isTable(f.Type()):
			if sub, ok := d.asTable(here, at, x); ok {
				d.table(here, at, sub, f, m)
			}
		case f.Type() == typeStrings:
			if sub, ok := d.asTable(here, at, x); ok {
				d.texts(here, at, sub, f, m)
			}
		case f.Kind() == reflect.Map:
			if sub, ok := d.asTable(here, at, x); ok {
				for _, item := range slices.Sorted(maps.Keys(sub)) {
					if t, ok := d.asTable(append(slices.Clip(here), item), join(at, item), sub[item]); ok {
						d.named(append(slices.Clip(here), item), join(at, item), item, t, f, m)
					}
				}
			}
		case f.Kind() == reflect.Slice && isTable(f.Type().Elem()):
			d.list(here, at, x, f, m)
		default:
			d.leaf(here, at, x, f, m)
		}
	}
}

// named decodes into one element of a map of tables.
func (d *decoder) named(path []string, where, name string, tree map[string]any, v reflect.Value, m meta) {
	item := reflect.New(v.Type().Elem()).Elem()
	if old := v.MapIndex(reflect.ValueOf(name)); old.IsValid() {
		item.Set(old)
	} else {
		setDefaults(item, m)
	}
	d.table(path, where, tree, item, m)
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	v.SetMapIndex(reflect.ValueOf(name), item)
}

// list decodes a list of tables, which replaces that of documents of lower precedence.
func (d *decoder) list(path []string, where string, x any, v reflect.Value, m meta) {
	var trees []map[string]any
	switch x := x.(type) {
	case []map[string]any:
		trees = x
	case []any:
		for _, e := range x {
			t, _ := e.(map[string]any)
			trees = append(trees, t)
		}
	}
	if trees == nil || slices.ContainsFunc(trees, func(t map[string]any) bool { return t == nil }) {
		d.problem(path, where, "is "+describe(x)+", must be a list of tables", "[["+key(path...)+"]]")
		return
	}
	maps.DeleteFunc(d.origins, func(name string, _ Origin) bool { return strings.HasPrefix(name, key(path...)+".") })
	list := reflect.MakeSlice(v.Type(), len(trees), len(trees))
	for i, tree := range trees {
		at := where + "[" + strconv.Itoa(i) + "]"
		setDefaults(list.Index(i), m)
		task, _ := tree["task"].(string)
		d.table(append(slices.Clip(path), task), at, tree, list.Index(i), m)
		d.checkCommand(at, list.Index(i).Interface().(Command), list.Slice(0, i).Interface().([]Command))
	}
	v.Set(list)
}

// texts decodes a table of strings.
func (d *decoder) texts(path []string, where string, tree map[string]any, v reflect.Value, m meta) {
	texts := map[string]string{}
	maps.Copy(texts, v.Interface().(map[string]string))
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		var s string
		here := append(slices.Clip(path), name)
		switch x := tree[name].(type) {
		case int64, bool:
			tree[name] = fmt.Sprint(x)
		}
		if d.leaf(here, join(where, name), tree[name], reflect.ValueOf(&s).Elem(), m) {
			texts[name] = s
		}
	}
	v.Set(reflect.ValueOf(texts))
}

// leaf decodes one value and tells whether it is set now. A text with variables that comes out empty does not set it.
func (d *decoder) leaf(path []string, where string, x any, v reflect.Value, m meta) bool {
	value, vars, err := expandAll(x, d.env.lookup)
	if err != nil {
		hint := "set it, or give a default: ${NAME:-default}"
		var unset *unsetError
		if !errors.As(err, &unset) {
			hint = ""
		}
		d.problem(path, where, err.Error(), hint)
		return false
	}
	if s, ok := value.(string); ok && s == "" && x != "" {
		return false
	}
	if err := assign(v, m, value); err != nil {
		d.problem(path, where, "is "+quote(x, m)+": "+complaint(err, len(vars) > 0), "")
		return false
	}
	origin := Origin{Kind: FromFile, Name: d.doc.name, Line: d.doc.lines[where], Vars: vars}
	if d.doc.version > 0 {
		origin.Kind, origin.Version = FromRedis, d.doc.version
	}
	d.set(key(path...), origin)
	return true
}

func (d *decoder) asTable(path []string, where string, x any) (map[string]any, bool) {
	t, ok := x.(map[string]any)
	if !ok {
		d.problem(path, where, "is "+describe(x)+", must be a table", "["+key(path...)+"]")
	}
	return t, ok
}

func (d *decoder) problem(path []string, where, message, hint string) {
	d.problems = append(d.problems, Problem{File: d.doc.name, Line: d.doc.lines[where], Key: key(path...), Message: message, Hint: hint})
}

func (d *decoder) unknown(path []string, where string, v reflect.Value) {
	name := path[len(path)-1]
	var names []string
	for f := range v.Type().Fields() {
		if n := f.Tag.Get("toml"); n != "*" {
			names = append(names, n)
		}
	}
	hint := "known here are " + strings.Join(names, ", ")
	if known, ok := celeryNames()[strings.ToLower(name)]; ok {
		hint = "Celery's setting of this name is " + known + " here"
	} else if n := nearest(name, names); n != "" {
		hint = "did you mean " + key(append(slices.Clip(path[:len(path)-1]), n)...) + "?"
	} else if homes := homesOf(name); len(homes) > 0 {
		hint = "did you mean " + strings.Join(homes, " or ") + "?"
	}
	d.problem(path, where, "is unknown", hint)
}

// homesOf are the settings that have this name in some other table.
func homesOf(name string) (homes []string) {
	walk(reflect.ValueOf(Config{}), nil, meta{}, func(path []string, _ reflect.Value, m meta) {
		if m.name == name {
			homes = append(homes, key(path...))
		}
	})
	return homes
}

func fieldNamed(v reflect.Value, name string, parent meta) (reflect.Value, meta, bool) {
	t := v.Type()
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("toml") == name {
			return v.Field(i), metaOf(t.Field(i), parent), true
		}
	}
	return reflect.Value{}, meta{}, false
}

func join(where, name string) string {
	if where == "" {
		return key(name)
	}
	return where + "." + key(name)
}

// expandAll expands all texts in x, also those in lists and tables.
func expandAll(x any, env Lookup) (any, []string, error) {
	switch x := x.(type) {
	case string:
		s, vars, err := expand(x, env)
		return s, vars, err
	case []any:
		var all []string
		list := []any{}
		for _, e := range x {
			v, vars, err := expandAll(e, env)
			if err != nil {
				return nil, nil, err
			}
			all = append(all, vars...)
			if v != "" || e == "" {
				list = append(list, v)
			}
		}
		return list, all, nil
	case map[string]any:
		var all []string
		table := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(x)) {
			v, vars, err := expandAll(x[name], env)
			if err != nil {
				return nil, nil, err
			}
			all = append(all, vars...)
			table[name] = v
		}
		return table, all, nil
	}
	return x, nil, nil
}

// quote shows a value as it stands in the file: variables are not expanded, so no secret of the environment is shown.
func quote(x any, m meta) string {
	if m.secret == "all" {
		return hidden
	}
	switch x := x.(type) {
	case string:
		s := Mask(x)
		if len(s) > 60 {
			s = strings.ToValidUTF8(s[:60], "") + "…"
		}
		return strconv.Quote(s)
	case int64, float64, bool:
		return fmt.Sprint(x)
	}
	return describe(x)
}

// complaint is the text of an error of assign; of a value that came from a variable it says only what is allowed.
func complaint(err error, variable bool) string {
	var bad *valueError
	if variable && errors.As(err, &bad) {
		bad.why = nil
	}
	return err.Error()
}

func describe(x any) string {
	switch x.(type) {
	case string:
		return "a string"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date"
}
