package config

import "reflect"

// Pin puts back what needs a restart to change: the values and origins that running has. What is left is what a process that runs
// with these settings can take over.
func (e *Effective) Pin(running *Effective) {
	values := map[string]reflect.Value{}
	visitRestart(running.Config, func(name string, v reflect.Value) { values[name] = v })
	visitRestart(e.Config, func(name string, v reflect.Value) {
		v.Set(values[name])
		if o, ok := running.Origins[name]; ok {
			e.Origins[name] = o
		} else {
			delete(e.Origins, name)
		}
	})
}

// visitRestart calls visit for each setting that needs a restart. None of them is in a map or behind a pointer, so that every
// configuration has them all and they can be set.
func visitRestart(c *Config, visit func(name string, v reflect.Value)) {
	walk(reflect.ValueOf(c).Elem(), nil, meta{}, func(path []string, v reflect.Value, m meta) {
		if m.effect == Restart {
			visit(key(path...), v)
		}
	})
}
