package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// arg reads an argument into value. One that is absent or null leaves it as it is.
func arg[T any](args Arguments, name string, value *T) error {
	raw, ok := args[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, value); err != nil {
		return exception{"TypeError", fmt.Sprintf("argument %s is not of the type %T: %.80s", quote(name), *value, raw)}
	}
	return nil
}

// stringList reads an argument that is a string or a list of strings, each of them once.
func stringList(args Arguments, name string) ([]string, error) {
	raw := args[name]
	var one string
	if json.Unmarshal(raw, &one) == nil {
		if one == "" {
			return nil, nil
		}
		return []string{one}, nil
	}
	var many []string
	if err := json.Unmarshal(raw, &many); err != nil {
		return nil, exception{"TypeError", fmt.Sprintf("argument %s is neither a string nor a list of strings: %.80s", quote(name), raw)}
	}
	seen := make(map[string]bool, len(many))
	return slices.DeleteFunc(many, func(s string) bool {
		twice := seen[s]
		seen[s] = true
		return twice
	}), nil
}

// revokedNames reads the ids of a hello: a list from 5.7 on, before that an object with times of the sender's own clock.
func revokedNames(args Arguments) ([]string, error) {
	raw := args["revoked"]
	if !truthy(raw) {
		return nil, nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		ids := make([]string, 0, len(object))
		for id := range object {
			ids = append(ids, id)
		}
		return ids, nil
	}
	return stringList(args, "revoked")
}

// maybeList is the value itself if it is a list, else a list of it.
func maybeList(v any) []any {
	if items, ok := v.([]any); ok {
		return items
	}
	return []any{v}
}

// stampValues reads a task's stamps: header to values, each in its canonical JSON.
func stampValues(stamps []byte) map[string][]string {
	var object map[string]any
	if len(stamps) == 0 || decodeNumbers(stamps, &object) != nil {
		return nil
	}
	values := make(map[string][]string, len(object))
	for header, v := range object {
		for _, value := range maybeList(v) {
			values[header] = append(values[header], canonical(value))
		}
	}
	return values
}

// canonical is JSON that is the same for equal values.
func canonical(v any) string {
	text, err := json.Marshal(v) // sorts the keys of objects
	if err != nil {
		return fmt.Sprint(v) // cannot happen: v came out of JSON
	}
	return string(text)
}

// decodeNumbers decodes JSON with numbers kept as they are written.
func decodeNumbers(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(v)
}
