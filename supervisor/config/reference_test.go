package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const reference = "../../agensium.toml"

var nothing = env(nil)

// full is a configuration in which every field of every table is there.
func full() *Config {
	c := Defaults()
	c.Python.Environment = map[string]string{"DJANGO_SETTINGS_MODULE": "proj.settings"}
	c.Scaling.Queues = map[string]QueueScaling{"celery": {Weight: 1}}
	c.Tasks.Named = map[string]TaskOptions{"shop.pay": {
		AcksLate: ptr(false), AcksOnFailureOrTimeout: ptr(true), RejectOnWorkerLost: ptr(false),
		TimeLimit: ptr(2 * time.Minute), SoftTimeLimit: ptr(90 * time.Second), RateLimit: &RateLimit{"100/m", true}, MaxDeliveries: ptr(2),
	}}
	var cmd Command
	setDefaults(reflect.ValueOf(&cmd).Elem(), meta{})
	cmd.Task, cmd.Run = "images.thumbnail", []string{"convert", "{arg0}", "-resize", "{size}", "{arg1}"}
	cmd.Environment = map[string]string{"MAGICK_THREAD_LIMIT": "1"}
	cmd.AcksLate, cmd.TimeLimit, cmd.SoftTimeLimit, cmd.RateLimit = ptr(true), ptr(30*time.Minute), ptr(25*time.Minute), &RateLimit{Limit: "10/s"}
	c.Commands = []Command{cmd}
	return c
}

func keysOf(c *Config) (keys []string) {
	walk(reflect.ValueOf(c).Elem(), nil, meta{}, func(path []string, _ reflect.Value, _ meta) { keys = append(keys, key(path...)) })
	return keys
}

func loadText(t testing.TB, text string, vars map[string]string) (*Loaded, error) {
	t.Helper()
	return Load(Input{Dir: dir(t, map[string]string{fileName: text}), Env: env(vars)})
}

func readReference(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The lines that are in force are those of the design.
func TestReferenceAsShipped(t *testing.T) {
	l, err := loadText(t, readReference(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := loadText(t, design, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d.Config, l.Config); diff != "" {
		t.Errorf("design (-) and agensium.toml (+) differ:\n%s", diff)
	}
	var explicit []string
	for _, s := range l.Settings() {
		if s.Origin.Kind == FromFile {
			explicit = append(explicit, s.Key)
		}
	}
	if len(explicit) != len(d.Origins) {
		t.Errorf("agensium.toml sets %d settings, the design %d: %v", len(explicit), len(d.Origins), explicit)
	}
}

var commented = regexp.MustCompile(`(?m)^#(\[|[a-zA-Z_]+ = )`)

// With all its settings in force the file has every key there is, at its default.
func TestReferenceIsComplete(t *testing.T) {
	l, err := loadText(t, commented.ReplaceAllString(readReference(t), "$1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range keysOf(full()) {
		if l.Origins[name].Kind != FromFile {
			t.Errorf("agensium.toml does not mention %s", name)
		}
	}
	want := full() // what the design sets stands beside the defaults
	want.Results.URL = want.Broker.URL
	want.Python.App, want.Python.Interpreter = "examples.quickstart.tasks:app", "python3"
	want.Scaling.SLO = 30 * time.Second
	want.Tasks.AcksLate, want.Tasks.RejectOnWorkerLost = true, true
	want.Tasks.TimeLimit, want.Tasks.SoftTimeLimit = 30*time.Minute, 25*time.Minute
	for _, c := range Diff(want, l.Config) {
		t.Errorf("agensium.toml gives %s = %s, the default is %s", c.Key, c.New, c.Old)
	}
}

// What a month costs stands in the file as the code counts it.
func TestReferenceTellsTheCosts(t *testing.T) {
	text, c := readReference(t), Defaults()
	c.Events.Enabled = true
	for _, cost := range c.IdleCosts() {
		if n := Thousands(cost.PerMonth); !strings.Contains(text, n+" ") {
			t.Errorf("agensium.toml does not say that %s costs %s commands a month", cost.Key, n)
		}
	}
}

// The effect that a comment names, of a setting or of its table, is that of the settings below it.
func TestReferenceTellsTheEffects(t *testing.T) {
	text := commented.ReplaceAllString(readReference(t), "$1")
	effects := map[int]string{} // by line
	tag, table := regexp.MustCompile(`\[(live|generation|restart)\]`), regexp.MustCompile(`^\[+([a-z_]+)`)
	said, ofTable, inComment := "", map[string]string{}, false
	current := ""
	for i, line := range strings.Split(text, "\n") {
		comment := strings.HasPrefix(line, "#")
		if comment && !inComment {
			said = ""
		}
		inComment = comment
		switch m := tag.FindStringSubmatch(line); {
		case comment && m != nil:
			said = m[1]
		case table.MatchString(line):
			current = table.FindStringSubmatch(line)[1]
			if said != "" {
				ofTable[current] = said
			}
			said = ""
		case said != "":
			effects[i+1] = said
		default:
			effects[i+1] = ofTable[current]
		}
	}
	at := locate(text)
	walk(reflect.ValueOf(full()).Elem(), nil, meta{}, func(path []string, _ reflect.Value, m meta) {
		name := key(path...)
		line := at[strings.Replace(name, `command."images.thumbnail"`, "command[0]", 1)]
		if effects[line] != string(m.effect) {
			t.Errorf("line %d: the comment of %s says [%s], its effect is [%s]", line, name, effects[line], m.effect)
		}
	})
}

func TestEmbeddedReferenceIsTheFileAtTheTop(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != Reference {
		t.Error("agensium.toml was edited: run `go generate ./supervisor/config`")
	}
}
