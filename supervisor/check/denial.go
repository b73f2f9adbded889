package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

// denial is what the user may not do.
type denial struct {
	commands []string
	err      error // of the first
}

func (d *denial) Error() string {
	return strings.ToUpper(strings.Join(d.commands, ", ")) + ": " + d.err.Error()
}
func (d *denial) Unwrap() error { return d.err }

// gather looks through what a server said to many commands: what is not permitted is listed, another refusal is returned alone.
func gather(cmds []redis.Cmder) error {
	var d denial
	for _, cmd := range cmds {
		err := cmd.Err()
		var words []string
		for _, arg := range cmd.Args() {
			words = append(words, fmt.Sprint(arg))
		}
		switch name := commandName(words); redisconn.Classify(err).Name {
		case "":
		case redisconn.NoPerm:
			if d.err == nil {
				d.err = err
			}
			if !slices.Contains(d.commands, name) {
				d.commands = append(d.commands, name)
			}
		default:
			return fmt.Errorf("%s: %w", strings.ToUpper(name), err)
		}
	}
	if d.err == nil {
		return nil
	}
	return &d
}

// denied words a proof that did not come out, with what to grant if that is the cure.
func (s *session) denied(p proof, err error) Result {
	c := redisconn.Classify(err)
	r := failed(p.name, c.Hint, "%v", err)
	r.Cause = c.Name
	var d *denial
	switch {
	case !errors.As(err, &d):
		if p.spare && c.Name != redisconn.Unreachable {
			r.Mark, r.Text = Warning, r.Text+"; "+p.soft
		}
	case ofNames(d.err):
		own := s.family + "*"
		r.Text = "keys and channels " + own + ": " + d.err.Error()
		r.Hint = "Grant them: ACL SETUSER " + s.user() + " ~" + own + " &" + own
	default:
		r.Hint = "Grant it: ACL SETUSER " + s.user() + " +" + strings.Join(d.commands, " +")
		if p.soft != "" {
			r.Mark, r.Text = Warning, r.Text+"; "+p.soft
		}
	}
	return r
}

func (s *session) user() string {
	if s.target.Username != "" {
		return s.target.Username
	}
	return "default"
}
