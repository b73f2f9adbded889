package config

import (
	"fmt"
	"strings"
)

// Origin says where the value of a setting came from.
type Origin struct {
	Kind    Kind
	Name    string   // variable of the environment, flag, or file
	Line    int      // in the file
	Version int      // of the settings in Redis
	Vars    []string // variables that the value in the file was made of
}

// Kind is the kind of an Origin, in rising order of precedence.
type Kind int

// The kinds of origins.
const (
	FromDefault     Kind = iota
	FromFallback         // REDIS_URL, where nobody else says anything
	FromApp              // the application's Celery settings
	FromEnvironment      // or .env
	FromFile
	FromRedis
	FromPlatform // what the platform says about itself: nobody can know better
	FromFlag
)

// String is what the banner and `config show` say: default, app, CELERY_BROKER_URL, agensium.toml:3 (REDIS_URL),
// redis version 7, --concurrency.
func (o Origin) String() string {
	switch o.Kind {
	case FromDefault:
		return "default"
	case FromApp:
		return "app (" + o.Name + ")"
	case FromFile:
		s := fmt.Sprintf("%s:%d", o.Name, o.Line)
		if len(o.Vars) > 0 {
			s += " (" + strings.Join(o.Vars, ", ") + ")"
		}
		return s
	case FromRedis:
		return fmt.Sprintf("redis version %d", o.Version)
	}
	return o.Name
}

// explicit tells whether somebody asked agensium for the value, rather than the application or nobody.
func (o Origin) explicit() bool { return o.Kind > FromApp }

// Origins has the origin of each setting that is not a default, by its key as in TOML.
type Origins map[string]Origin

// Set tells whether the environment, a file, Redis or a flag set the key. If not, what the application says about each
// of its tasks counts.
func (o Origins) Set(key string) bool { return o[key].explicit() }
