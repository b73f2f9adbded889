package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Input is all that [Load] looks at. The zero value loads as the program does without flags.
type Input struct {
	Path   string    // --config; if empty ./agensium.toml, else $AGENSIUM_CONFIG, else no file
	Dir    string    // what `.` is; "" is the process's own
	Env    Lookup    // nil is os.LookupEnv
	Flags  *Flags    // nil: none were given
	Stored *Document // what `agensium config push` left in Redis; nil: nothing
}

// Effective is a complete configuration with the origin of each value.
type Effective struct {
	Config  *Config
	Origins Origins
	Notes   []Note // what an operator should know, in a stable order
}

// Loaded is what [Load] read. The Effective in it does not know the application yet.
type Loaded struct {
	Effective
	Path   string            // of the TOML file; empty if there is none
	Dotenv string            // where .env is, or would be
	Vars   map[string]string // what .env and files of variables set and the process's environment does not

	env    environment
	docs   []*document
	broken *document // the file, if it is not TOML
	in     Input
}

// Files are those that a change of which may change what Load gives: the TOML file, or where one would be found, and .env.
func (l *Loaded) Files() [2]string {
	if l.Path != "" {
		return [2]string{l.Path, l.Dotenv}
	}
	return [2]string{filepath.Join(l.in.Dir, fileName), l.Dotenv}
}

// Input is what Load was given.
func (l *Loaded) Input() Input { return l.in }

const fileName = "agensium.toml"

// Load reads and checks the settings. Its error is of type [Problems] and holds all that is wrong; what could be read is returned beside it,
// for those who only want to find the node that works on with its old settings.
func Load(in Input) (*Loaded, error) {
	if in.Env == nil {
		in.Env = os.LookupEnv
	}
	l := &Loaded{in: in, env: environment{real: in.Env}}
	var problems Problems
	text, err := l.find()
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		p := Problem{File: l.Path, Message: "cannot be read: " + err.Error()}
		if l.Path == in.Path && errors.Is(err, fs.ErrNotExist) && moduleName.MatchString(in.Path) {
			p.Hint = "--config names a file of settings here; Celery's module of settings is CELERY_CONFIG_MODULE=" + in.Path
		}
		problems = append(problems, p)
	}
	l.Dotenv = filepath.Join(in.Dir, dotenvName)
	if l.Path != "" {
		l.Dotenv = filepath.Join(filepath.Dir(l.Path), dotenvName)
	}
	l.Vars = map[string]string{}
	if l.Path != "" { // a .env without settings beside it is the application's, which may have others that are stronger
		vars, bad := readDotenv(l.Dotenv, in.Env)
		problems = append(problems, bad...)
		l.env.dotenv = vars
	} else {
		l.env.left, _ = readDotenv(l.Dotenv, in.Env)
	}
	l.env.files = newFiles(filepath.Dir(l.Dotenv), in.Env)
	for name, value := range l.env.dotenv {
		if _, ok := in.Env(name); !ok {
			l.Vars[name] = value
		}
	}
	if err == nil && l.Path != "" {
		doc, bad := parse(Document{Name: l.Path, Text: text})
		problems = append(problems, bad...)
		l.add(doc)
	}
	if in.Stored != nil {
		doc, bad := parse(*in.Stored)
		problems = append(problems, bad...)
		l.add(doc)
	}
	b := l.build(AppSettings{})
	maps.Copy(l.Vars, l.env.files.values)
	problems = slices.AppendSeq(problems, maps.Values(l.env.files.problems))
	l.Effective = b.effective()
	if l.broken != nil { // what else is wrong with the rest of it is not worth saying
		l.docs = append([]*document{l.broken}, l.docs...)
		l.Effective = l.build(AppSettings{}).effective()
	}
	if problems = append(problems, b.problems...); len(problems) > 0 {
		return l, problems.sorted()
	}
	return l, nil
}

// add takes a document, if it could be read.
func (l *Loaded) add(doc *document) {
	switch {
	case doc == nil:
	case doc.broken:
		l.broken = doc
	default:
		l.docs = append(l.docs, doc)
	}
}

// moduleName is what celery --config takes.
var moduleName = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$`)

// find sets Path and reads the file there.
func (l *Loaded) find() ([]byte, error) {
	if l.in.Path != "" {
		l.Path = l.in.Path
		return readFile(l.Path)
	}
	path := filepath.Join(l.in.Dir, fileName)
	text, err := readFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		l.Path = path
		return text, err
	}
	if path, _ := l.in.Env("AGENSIUM_CONFIG"); strings.TrimSpace(path) != "" {
		l.Path = path
		return readFile(path)
	}
	return nil, nil
}

// Resolve adds what the application says. It cannot fail: settings of the application that make no sense here are left
// out, with a note.
func (l *Loaded) Resolve(app AppSettings) *Effective {
	e := l.build(app).effective()
	return &e
}

// builder applies one layer after the other.
type builder struct {
	cfg      *Config
	origins  Origins
	env      environment
	problems Problems
	doubtful map[string]Problem // of the environment, by key: a problem unless something stronger sets the key
	notes    []Note
}

func (l *Loaded) build(app AppSettings) *builder {
	b := &builder{cfg: Defaults(), origins: Origins{}, env: l.env, doubtful: map[string]Problem{}}
	b.fallback()
	b.app(app)
	b.environment()
	for _, doc := range l.docs {
		if doc != nil {
			(&decoder{b, doc}).table(nil, "", doc.tree, reflect.ValueOf(b.cfg).Elem(), meta{})
		}
	}
	b.platform()
	b.flags(l.in.Flags)
	for _, p := range b.doubtful {
		b.problems = append(b.problems, p)
	}
	b.derive()
	b.relate()
	b.leftOut()
	return b
}

// set notes the origin of a key.
func (b *builder) set(key string, o Origin) {
	b.origins[key] = o
	delete(b.doubtful, key)
}

func (b *builder) note(key, text string) { b.notes = append(b.notes, Note{key, text}) }

// leftOut tells of a .env that is not read where it names the broker, and nobody else does.
func (b *builder) leftOut() {
	if b.origins["broker.url"].Kind != FromDefault {
		return
	}
	for _, name := range []string{"CELERY_BROKER_URL", "REDIS_URL"} {
		if b.env.left[name] != "" {
			b.note("broker.url", "is the default: "+name+" of .env counts only beside a settings file, which agensium init writes, or in the environment")
			return
		}
	}
}

func (b *builder) effective() Effective { return Effective{b.cfg, b.origins, b.notes} }
