package supervisor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/supervisor/config"
)

// newLoggers makes the node's logger, and the one for what its applications write themselves: they have decided what they write, so that
// only "off" hides it. Loggers named after one of them share its level, so that setting the level of one changes all at once.
// Under systemd the journal adds the time itself and takes the priority from a prefix.
func newLoggers(c config.Log, out io.Writer) (log, printed hclog.Logger) {
	journal, inJSON := toJournal(out, os.Getenv("JOURNAL_STREAM")), c.Format == "json"
	if journal {
		out = prioritized(out)
	} else {
		out = &records{out, nil}
	}
	o := hclog.LoggerOptions{
		Name: "agensium", Output: out, Level: hclog.LevelFromString(c.Level), JSONFormat: inJSON, DisableTime: journal && !inJSON, Mutex: &sync.Mutex{},
	}
	log = hclog.New(&o)
	o.Level = printedLevel(c.Level)
	printed = hclog.New(&o)
	if inJSON {
		return &withUnits{log}, &withUnits{printed}
	}
	return log, printed
}

func printedLevel(level string) hclog.Level {
	if l := hclog.LevelFromString(level); l == hclog.Off {
		return l
	}
	return hclog.Trace
}

// toJournal tells whether out is the stream that systemd says leads to the journal: it names it by device and inode
// (systemd.exec(5)).
func toJournal(out io.Writer, stream string) bool {
	f, ok := out.(*os.File)
	if !ok || stream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// prioritized writes each line with its priority as sd-daemon(3) has it.
func prioritized(out io.Writer) io.Writer {
	to := func(priority string) io.Writer { return &records{out, []byte("<" + priority + ">")} }
	return hclog.NewLeveledWriter(to("6"), map[hclog.Level]io.Writer{
		hclog.Error: to("3"), hclog.Warn: to("4"), hclog.Debug: to("7"), hclog.Trace: to("7"),
	})
}

// records is given a record with each write. Nothing in it steers the terminal, whatever a task printed or a client named a task.
type records struct {
	out    io.Writer
	prefix []byte // before each line, since the journal makes a record of each
}

func (r *records) Write(b []byte) (int, error) {
	record := []byte(child.Printable(string(b)))
	if cut, ok := bytes.CutSuffix(record, []byte("\n  \n")); ok { // hclog indents what might follow a field of several lines
		record = append(cut, '\n')
	}
	if len(r.prefix) > 0 {
		var all []byte
		for line := range bytes.Lines(record) {
			all = append(append(all, r.prefix...), line...)
		}
		record = all
	}
	if _, err := r.out.Write(record); err != nil {
		return 0, err
	}
	return len(b), nil
}

// setLogLevel changes what is logged from now on, everywhere.
func (s *Supervisor) setLogLevel(level string) {
	s.log.SetLevel(hclog.LevelFromString(level))
	s.printed.SetLevel(printedLevel(level))
}

// calm is a logger that writes a warning or an error only a few times in a while, and then how often it was left out. What
// is compared is the text, not the values beside it: texts are few.
type calm struct {
	hclog.Logger
	flood *flood
}

// The same text is written so often in such a window.
const (
	floodLines  = 5
	floodWindow = 10 * time.Second
	floodTexts  = 200 // texts that are remembered; more are all written
)

// flood remembers what was written lately. Loggers made of one another share it.
type flood struct {
	mu      sync.Mutex
	texts   map[string]*repeated
	quieted uint64
}

type repeated struct {
	until   time.Time // end of its window
	written int
	left    int // out
}

func newCalm(l hclog.Logger) *calm { return &calm{l, &flood{texts: map[string]*repeated{}}} }

func (c *calm) Warn(msg string, args ...any) { c.write(hclog.Warn, msg, args) }

func (c *calm) Error(msg string, args ...any) { c.write(hclog.Error, msg, args) }

func (c *calm) Log(level hclog.Level, msg string, args ...any) {
	if level >= hclog.Warn {
		c.write(level, msg, args)
		return
	}
	c.Logger.Log(level, msg, args...)
}

func (c *calm) write(level hclog.Level, msg string, args []any) {
	ok, left := c.flood.pass(c.Name()+": "+msg, time.Now(), func(n int) {
		c.Logger.Log(level, msg, "repeated", n, "next", "see the first ones")
	})
	if !ok {
		return
	}
	if left > 0 {
		args = append(args[:len(args):len(args)], "repeated", left)
	}
	c.Logger.Log(level, msg, args...)
}

func (c *calm) Named(name string) hclog.Logger      { return &calm{c.Logger.Named(name), c.flood} }
func (c *calm) ResetNamed(name string) hclog.Logger { return &calm{c.Logger.ResetNamed(name), c.flood} }
func (c *calm) With(args ...any) hclog.Logger       { return &calm{c.Logger.With(args...), c.flood} }

// pass tells whether a text may be written now, and how often it was left out since it was last. When some are left out and the window
// ends, rest is told, from another goroutine, unless the text was written meanwhile.
func (f *flood) pass(text string, now time.Time, rest func(left int)) (ok bool, left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.texts[text]
	if r == nil || now.After(r.until) {
		if r == nil {
			f.forget(now)
			if len(f.texts) >= floodTexts {
				return true, 0
			}
		} else {
			left = r.left
		}
		f.texts[text] = &repeated{until: now.Add(floodWindow), written: 1}
		return true, left
	}
	if r.written < floodLines {
		r.written++
		return true, 0
	}
	f.quieted++
	if r.left++; r.left == 1 {
		time.AfterFunc(r.until.Sub(now)+time.Second, func() { f.end(r, rest) })
	}
	return false, 0
}

// end tells how much was left out in a window after which nothing came.
func (f *flood) end(r *repeated, rest func(left int)) {
	f.mu.Lock()
	left := r.left
	for text, now := range f.texts {
		if now == r {
			delete(f.texts, text)
			f.mu.Unlock()
			rest(left)
			return
		}
	}
	f.mu.Unlock()
}

// forget drops the windows that are over and left nothing out.
func (f *flood) forget(now time.Time) {
	if len(f.texts) < floodTexts {
		return
	}
	for text, r := range f.texts {
		if now.After(r.until) && r.left == 0 {
			delete(f.texts, text)
		}
	}
}

func (f *flood) count() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.quieted
}

// everyLine is the logger for what must not be left out: what happens to tasks, and what they print.
func everyLine(l hclog.Logger) hclog.Logger {
	if c, ok := l.(*calm); ok {
		return c.Logger
	}
	return l
}
