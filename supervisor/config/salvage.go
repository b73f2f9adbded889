package config

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// salvage reads what can be read of a text that is not TOML: each table by itself, and of one that is not TOML the lines that are. It
// is good enough to guess how the node was set up that has refused the text, and for nothing else.
func salvage(text string) map[string]any {
	tree := map[string]any{}
	for _, table := range tables(text) {
		var read map[string]any
		if _, err := toml.Decode(table, &read); err != nil {
			read = byLine(table)
		}
		merge(tree, read)
	}
	return tree
}

// tables cuts a text before each line that begins with a bracket.
func tables(text string) []string {
	var all []string
	var table strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "[") {
			all = append(all, table.String())
			table.Reset()
		}
		table.WriteString(line)
	}
	return append(all, table.String())
}

// byLine leaves out the lines that are no TOML, or make none of what is before them. Without its header a table is nothing.
func byLine(table string) map[string]any {
	var good string
	var tree map[string]any
	for i, line := range strings.Split(table, "\n") {
		var read map[string]any
		if _, err := toml.Decode(good+line+"\n", &read); err == nil {
			good, tree = good+line+"\n", read
		} else if i == 0 && strings.HasPrefix(strings.TrimSpace(line), "[") || i == mostLines {
			return tree
		}
	}
	return tree
}

// mostLines bounds byLine, whose cost grows with the square of it.
const mostLines = 200

func merge(into, from map[string]any) {
	for key, value := range from {
		have, both := into[key].(map[string]any)
		if add, is := value.(map[string]any); both && is {
			merge(have, add)
		} else {
			into[key] = value
		}
	}
}
