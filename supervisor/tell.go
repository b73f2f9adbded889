package supervisor

import (
	"maps"
	"slices"
	"strings"

	"github.com/agensium/agensium/supervisor/config"
)

// renews tells whether a change needs other executors.
func renews(c config.Change) bool {
	return c.Effect == config.Generation || strings.HasPrefix(c.Key, "command.")
}

// tell writes a line for each change.
func (a *applier) tell(changes []config.Change, variables []string, running, wanted *config.Effective) {
	pending := map[string]bool{}
	for _, c := range config.Diff(running.Config, wanted.Config) {
		pending[c.Key] = true
	}
	for _, c := range changes {
		next := map[config.Effect]string{
			config.Live: "counts for what starts next", config.Generation: "new children have it, running tasks end in the old ones",
			config.Restart: "counts after a restart, until then the old one does",
		}[c.Effect]
		if c.Effect == config.Restart && !pending[c.Key] {
			next = "nothing, it is what runs"
		}
		a.log.Info("setting changed", "key", c.Key, "old", or(c.Old, "none"), "new", or(c.New, "none"), "effect", c.Effect,
			"origin", wanted.Origins[c.Key], "next", next)
	}
	if len(variables) > 0 {
		a.log.Info("setting changed", "key", ".env", "variables", strings.Join(variables, ","), "effect", config.Generation,
			"next", "new children have them, running tasks end in the old ones")
	}
}

// changedNames are the variables that differ, sorted. Their values may be secret.
func changedNames(before, now map[string]string) []string {
	names := map[string]bool{}
	for name, value := range before {
		if other, ok := now[name]; !ok || other != value {
			names[name] = true
		}
	}
	for name := range now {
		if _, ok := before[name]; !ok {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
