package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/sirupsen/logrus"
)

// environment is that of the process over what .env says, over the files that either of them names.
type environment struct {
	real   Lookup
	dotenv map[string]string
	left   map[string]string // what a .env says that is left to the application
	files  *files
}

func (e environment) lookup(name string) (string, bool) {
	v, _, ok := e.find(name)
	return v, ok
}

// find tells as well where a variable was found.
func (e environment) find(name string) (value, source string, ok bool) {
	if value, source, ok = e.own(name); ok {
		return value, source, true
	}
	path, source, _ := e.own(name + fileSuffix)
	if strings.TrimSpace(path) == "" {
		return "", "", false
	}
	value, ok = e.files.read(name, path, source)
	return value, source, ok
}

func (e environment) own(name string) (value, source string, ok bool) {
	if value, ok = e.real(name); ok {
		return value, "environment", true
	}
	value, ok = e.dotenv[name]
	return value, dotenvName, ok
}

// first is the first of the variables that is not empty, and where it was found.
func (e environment) first(names ...string) (name, value, source string) {
	for _, name := range names {
		if value, source, _ := e.find(name); strings.TrimSpace(value) != "" {
			return name, value, source
		}
	}
	return "", "", ""
}

const dotenvName = ".env"

var dotenvLine = regexp.MustCompile(`^line (\d+): `)

// readDotenv reads the .env file at path; without one there is nothing in it.
func readDotenv(path string, real Lookup) (map[string]string, Problems) {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Problems{{File: path, Message: err.Error()}}
	}
	logrus.SetOutput(io.Discard) // the library warns of variables that are not set, in a log that is nobody's
	vars, err := dotenv.ParseWithLookup(strings.NewReader(hideDollars(string(text))), dotenv.LookupFn(real))
	if err != nil { // its text is not shown: it quotes the line, and such lines hold secrets
		p := Problem{File: path, Message: "is no file of NAME=value lines"}
		if m := dotenvLine.FindStringSubmatch(err.Error()); m != nil {
			p.Line, _ = strconv.Atoi(m[1])
		}
		return nil, Problems{p}
	}
	for name, value := range vars {
		vars[name] = strings.ReplaceAll(value, standIn, "$")
	}
	return vars, nil
}

// standIn stands for a $ that begins no ${NAME}, while the library reads, which would take what follows for a variable. The application
// reads the same file by python-dotenv or pydantic, to which such a $ is a character like others, as in a password.
const standIn = "\uE024" // of the private use area

func hideDollars(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "$", standIn), standIn+"{", "${")
}

// readFile reads a file of bounded length.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("is a directory")}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errTooLarge
	}
	return text, err
}

var errTooLarge = errors.New("is larger than " + Size(maxFile).String())

// environment applies the variables that settings name in their tags. A bad value is a problem only if it counts.
func (b *builder) environment() {
	walk(reflect.ValueOf(b.cfg).Elem(), nil, meta{}, func(path []string, v reflect.Value, m meta) {
		name, value, file := b.env.first(m.env...)
		if name == "" {
			return
		}
		if m.name == "max_memory_per_child" && strings.Trim(value, "0123456789") == "" {
			value += "KiB" // as in Celery
		}
		if err := assign(v, m, value); err != nil {
			b.doubtful[key(path...)] = Problem{File: file, Key: name, Message: "sets " + key(path...) + ": " + complaint(err, true)}
			return
		}
		b.set(key(path...), Origin{Kind: FromEnvironment, Name: name})
	})
	if _, port, file := b.env.first("PORT"); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			b.doubtful["admin.listen"] = Problem{File: file, Key: "PORT", Message: "sets admin.listen: allowed is the number of a port"}
			return
		}
		b.cfg.Admin.Listen = ":" + port // the platform's health checks come from outside
		b.set("admin.listen", Origin{Kind: FromEnvironment, Name: "PORT"})
	}
}

// fallback takes REDIS_URL for both URLs; everybody else is asked after it and wins.
func (b *builder) fallback() {
	if _, value, _ := b.env.first("REDIS_URL"); value != "" {
		b.cfg.Broker.URL, b.cfg.Results.URL = value, value
		b.set("broker.url", Origin{Kind: FromFallback, Name: "REDIS_URL"})
		b.set("results.url", Origin{Kind: FromFallback, Name: "REDIS_URL"})
	}
}

const railwayDrain = "RAILWAY_DEPLOYMENT_DRAINING_SECONDS"

// platform applies what the platform says about itself: after these seconds it kills, whatever a file says.
func (b *builder) platform() {
	name, value, file := b.env.first(railwayDrain)
	if name == "" {
		if _, id, _ := b.env.first("RAILWAY_ENVIRONMENT", "RAILWAY_ENVIRONMENT_ID", "RAILWAY_SERVICE_ID"); id != "" {
			b.note("drain.timeout", "this is Railway, and "+railwayDrain+" is not set: it may kill without any time to drain; nothing is lost, but running tasks start again after the lease")
		}
		return
	}
	d, err := ParseDuration(value)
	if err != nil {
		b.problems = append(b.problems, Problem{File: file, Key: name, Message: "sets drain.timeout: allowed is a number of seconds"})
		return
	}
	if b.origins.Set("drain.timeout") && b.cfg.Drain.Timeout != d {
		b.note("drain.timeout", FormatDuration(b.cfg.Drain.Timeout)+" ("+b.origins["drain.timeout"].String()+") does not count: the platform kills after "+FormatDuration(d)+" ("+railwayDrain+")")
	}
	b.cfg.Drain.Timeout = d
	b.set("drain.timeout", Origin{Kind: FromPlatform, Name: railwayDrain})
}
