package supervisor

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// router finds the queue of a task as the application's task_routes says it (celery/app/routes.py MapRoute): by its name, else
// by a pattern. Routes that are functions can only be asked in Python and are left out. Of several patterns that fit the
// longest counts: the order in which they were written is not known here. nil if there is no route.
func router(conf any) func(task string) string {
	exact := map[string]string{}
	patterns := map[string]string{}
	lists, ok := conf.([]any)
	if !ok {
		lists = []any{conf}
	}
	for _, l := range lists {
		routes, _ := l.(map[string]any)
		for name, route := range routes {
			queue := queueOf(route)
			switch {
			case queue == "":
			case strings.ContainsAny(name, "*?["):
				patterns[name] = queue
			default:
				exact[name] = queue
			}
		}
	}
	if len(exact)+len(patterns) == 0 {
		return nil
	}
	byLength := slices.SortedFunc(maps.Keys(patterns), func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return func(task string) string {
		if queue, ok := exact[task]; ok {
			return queue
		}
		for _, pattern := range byLength {
			if fits, err := path.Match(pattern, task); err == nil && fits {
				return patterns[pattern]
			}
		}
		return ""
	}
}

func queueOf(route any) string {
	switch r := route.(type) {
	case string:
		return r
	case map[string]any:
		return text(r["queue"])
	}
	return ""
}
