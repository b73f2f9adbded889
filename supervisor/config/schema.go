package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Effect is what a change of a setting needs while the program runs. Running tasks always keep the settings they began with.
type Effect string

// The effects.
const (
	Live       Effect = "live"       // counts for what starts next
	Generation Effect = "generation" // a new generation of children, the old ones finish their tasks
	Restart    Effect = "restart"    // the process has to be restarted
)

// meta is what the tags of a field say, see Config.
type meta struct {
	name, def, oneof, bounds, secret string
	env                              []string
	effect                           Effect
}

func metaOf(f reflect.StructField, parent meta) meta {
	m := meta{
		name:   f.Tag.Get("toml"),
		def:    f.Tag.Get("default"),
		oneof:  f.Tag.Get("oneof"),
		bounds: f.Tag.Get("range"),
		secret: f.Tag.Get("secret"),
		effect: Effect(f.Tag.Get("effect")),
	}
	if env := f.Tag.Get("env"); env != "" {
		m.env = strings.Split(env, ",")
	}
	if m.effect == "" {
		m.effect = parent.effect
	}
	return m
}

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSize     = reflect.TypeFor[Size]()
	typeRate     = reflect.TypeFor[RateLimit]()
	typeStrings  = reflect.TypeFor[map[string]string]()
)

// isTable tells whether a value of this type is a TOML table with fields of its own.
func isTable(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != typeRate }

// key joins the parts of a setting's name as TOML writes it: tasks."shop.pay".time_limit.
func key(parts ...string) string { return toml.Key(parts).String() }

// walk calls visit for each setting that v has, in the order of the fields; maps are sorted by name, commands go by their
// task. A nil pointer and an empty map have nothing to visit.
func walk(v reflect.Value, path []string, parent meta, visit func(path []string, v reflect.Value, m meta)) {
	sub := func(name string) []string { return append(slices.Clip(path), name) }
	t := v.Type()
	for i := range t.NumField() {
		f, m := v.Field(i), metaOf(t.Field(i), parent)
		here := sub(m.name)
		if m.name == "*" {
			here = path
		}
		switch {
		case isTable(f.Type()):
			walk(f, here, m, visit)
		case f.Kind() == reflect.Map:
			for _, name := range slices.Sorted(maps.Keys(mapKeys(f))) {
				item := f.MapIndex(reflect.ValueOf(name))
				if isTable(item.Type()) {
					walk(item, append(slices.Clip(here), name), m, visit)
				} else {
					visit(append(slices.Clip(here), name), item, m)
				}
			}
		case f.Kind() == reflect.Slice && isTable(f.Type().Elem()):
			for j := range f.Len() {
				item := f.Index(j)
				walk(item, append(slices.Clip(here), item.FieldByName("Task").String()), m, visit)
			}
		case f.Kind() == reflect.Pointer:
			if !f.IsNil() {
				visit(here, f.Elem(), m)
			}
		default:
			visit(here, f, m)
		}
	}
}

func mapKeys(v reflect.Value) map[string]struct{} {
	names := make(map[string]struct{}, v.Len())
	for _, k := range v.MapKeys() {
		names[k.String()] = struct{}{}
	}
	return names
}

// Defaults is the configuration when nobody says anything.
func Defaults() *Config {
	c := new(Config)
	setDefaults(reflect.ValueOf(c).Elem(), meta{})
	return c
}

func setDefaults(v reflect.Value, parent meta) {
	t := v.Type()
	for i := range t.NumField() {
		f, m := v.Field(i), metaOf(t.Field(i), parent)
		switch {
		case isTable(f.Type()):
			setDefaults(f, m)
		case m.def != "":
			if err := assign(f, m, m.def); err != nil {
				panic("default of " + m.name + ": " + err.Error()) // a test looks at each
			}
		}
	}
}
