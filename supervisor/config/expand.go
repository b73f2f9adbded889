package config

import (
	"errors"
	"fmt"
	"strings"
)

// Lookup finds a variable of the environment, as os.LookupEnv does.
type Lookup func(name string) (value string, ok bool)

const maxNesting = 20

// expand replaces ${NAME} and ${NAME:-default} in s; a default may hold further ones. $$ stands for one $, any other $ for itself.
// A variable that is empty counts as unset if there is a default. What a variable holds is not expanded again. vars are the
// names of the variables that the result came from.
func expand(s string, env Lookup) (out string, vars []string, err error) {
	e := expander{env: env}
	out, rest, err := e.text(s, 0)
	if err == nil && rest != "" {
		panic("expand stopped early")
	}
	return out, e.vars, err
}

type expander struct {
	env  Lookup
	vars []string
}

// text expands to the end of s, or inside of a default (depth > 0) to its closing brace, which is left in rest.
func (e *expander) text(s string, depth int) (out, rest string, err error) {
	var b strings.Builder
	for s != "" {
		switch {
		case depth > 0 && s[0] == '}':
			return b.String(), s, nil
		case strings.HasPrefix(s, "$$"):
			b.WriteByte('$')
			s = s[2:]
		case strings.HasPrefix(s, "${"):
			value, rest, err := e.variable(s[2:], depth+1)
			if err != nil {
				return "", "", err
			}
			b.WriteString(value)
			s = rest
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	if depth > 0 {
		return "", "", errors.New("${ without its }")
	}
	return b.String(), "", nil
}

// variable expands what follows ${ and returns what follows its closing brace.
func (e *expander) variable(s string, depth int) (value, rest string, err error) {
	if depth > maxNesting {
		return "", "", fmt.Errorf("more than %d variables inside of one another", maxNesting)
	}
	n := strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if n < 0 {
		return "", "", errors.New("${ without its }")
	}
	name, rest := s[:n], s[n:]
	set, value := false, ""
	if n > 0 {
		value, set = e.env(name)
	}
	switch {
	case n == 0 || s[0] >= '0' && s[0] <= '9':
		return "", "", errors.New("${ is not followed by the name of a variable; a plain $ is written $$")
	case rest[0] == '}':
		if !set {
			return "", "", &unsetError{name}
		}
		e.vars = append(e.vars, name)
		return value, rest[1:], nil
	case strings.HasPrefix(rest, ":-"):
		inner := expander{env: e.env}
		if value != "" { // the default is only passed over: nothing in it need be set
			inner.env = func(string) (string, bool) { return "", true }
		}
		other, rest, err := inner.text(rest[2:], depth)
		if err != nil {
			return "", "", err
		}
		if value != "" {
			e.vars = append(e.vars, name)
			return value, rest[1:], nil
		}
		e.vars = append(e.vars, inner.vars...)
		return other, rest[1:], nil
	}
	return "", "", fmt.Errorf("${%s is followed by neither } nor :-; allowed are ${%[1]s} and ${%[1]s:-default}", name)
}

type unsetError struct{ name string }

func (e *unsetError) Error() string { return "the variable " + e.name + " is not set" }
