// Package reload notices that the settings have changed: the TOML file or the .env beside it was edited, the document in Redis
// was replaced, somebody sent SIGHUP. It reads them again with [config.Load] and reports what came out, good or bad.
//
// supervisor runs it as an actor and decides what to do with the result; what runs stays as it is until then. This
// package never applies a setting, and never ends because a file is bad.
package reload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/supervisor/config"
)

const (
	quiet    = 100 * time.Millisecond // after the last event of a burst the files are looked at
	patience = 500 * time.Millisecond // but not later than this after its first
	backstop = 5 * time.Second        // between two looks without an event; not every file system tells
	polling  = time.Second            // the same, where none does
)

// ErrEmpty refuses a file that has lost all its text: more likely it is just being written than meant.
var ErrEmpty = errors.New("the file is empty")

// Result is what came out of reading the settings again: one of Loaded and Err is nil.
type Result struct {
	Cause  string // "file", or what was given to Reload or Store
	Asked  uint64 // the newest call of Reload that this answers, as Reload numbered it; 0: none so far
	Loaded *config.Loaded
	Err    error // config.Problems, or ErrEmpty; the settings that are in force stay
}

// Watcher looks after the settings that were loaded once.
type Watcher struct {
	report func(Result)
	log    hclog.Logger

	// owned by Run
	in       config.Input
	files    [2]string // the TOML file, .env
	seen     state
	full     bool              // the file in force has text
	answers  uint64            // the newest call of Reload that the next reading answers
	notifier *fsnotify.Watcher // nil: only polling

	wake chan struct{}

	mu     sync.Mutex
	cause  string           // why Run was woken
	asked  uint64           // calls of Reload
	stored *config.Document // what Redis holds now
}

// New watches what in describes and loaded came from. report is called by Run, one call at a time.
func New(in config.Input, loaded *config.Loaded, report func(Result), log hclog.Logger) *Watcher {
	if loaded.Path != "" {
		in.Path = loaded.Path // a file that vanishes is missed, not replaced by the defaults
	}
	w := &Watcher{in: in, report: report, log: log, files: loaded.Files(), wake: make(chan struct{}, 1), stored: in.Stored}
	w.seen = w.look(true)
	w.full = !blank(w.seen.texts[0])
	return w
}

// Reload makes Run read the settings again and report, also if nothing has changed. It does not wait and may be called by
// anybody; calls that come before Run gets to it are answered together. The number is that of the call: the report that answers
// it has this or a higher one.
func (w *Watcher) Reload(cause string) uint64 {
	w.mu.Lock()
	w.cause = cause
	w.asked++
	asked := w.asked
	w.mu.Unlock()
	nudge(w.wake)
	return asked
}

// Store is Reload with another document from Redis; nil if there is none any more.
func (w *Watcher) Store(doc *config.Document, cause string) {
	w.mu.Lock()
	w.stored, w.cause = doc, cause
	w.mu.Unlock()
	nudge(w.wake)
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	notifier, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Warn("nobody tells of edited settings", "error", err, "next", "look every second")
		w.loop(ctx, nil, polling)
		return nil
	}
	w.notifier = notifier
	edits, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		w.listen(notifier, edits)
	}()
	w.loop(ctx, edits, backstop)
	err = notifier.Close()
	<-ended
	return err
}

// listen empties the notifier's channels until it is closed, so that it never waits for a reload.
func (w *Watcher) listen(notifier *fsnotify.Watcher, edits chan struct{}) {
	events, failures := notifier.Events, notifier.Errors
	for events != nil || failures != nil {
		select {
		case event, ok := <-events:
			if !ok {
				events = nil
			} else if event.Op != fsnotify.Chmod {
				nudge(edits)
			}
		case err, ok := <-failures:
			if !ok {
				failures = nil
				continue
			}
			w.log.Debug("told of edits with an error", "error", err) // mostly too many at once: there was something
			nudge(edits)
		}
	}
}

func (w *Watcher) loop(ctx context.Context, edits <-chan struct{}, interval time.Duration) {
	w.follow()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	burst := time.NewTimer(0) // at once: something may have changed before we watched
	defer burst.Stop()
	var deadline time.Time // of the burst that is going on; zero: none
	for {
		select {
		case <-ctx.Done():
			return
		case <-edits:
			now := time.Now()
			if deadline.IsZero() {
				deadline = now.Add(patience)
			}
			burst.Reset(min(quiet, max(0, deadline.Sub(now))))
		case <-burst.C:
			deadline = time.Time{}
			w.check(true)
		case <-tick.C:
			w.check(false)
		case <-w.wake:
			w.mu.Lock()
			cause := w.cause
			w.in.Stored, w.answers = w.stored, w.asked
			w.mu.Unlock()
			w.seen = w.look(true)
			w.read(cause)
		}
	}
}

func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// check reads the settings if the files have changed.
func (w *Watcher) check(thorough bool) {
	w.follow()
	now := w.look(thorough)
	changed := now.texts != w.seen.texts
	w.seen = now
	if changed {
		w.read("file")
	}
}

// read loads what was just looked at and reports it.
func (w *Watcher) read(cause string) {
	if w.full && blank(w.seen.texts[0]) {
		w.report(Result{Cause: cause, Asked: w.answers, Err: fmt.Errorf("read %s: %w; for the defaults leave a comment in it", w.files[0], ErrEmpty)})
		return
	}
	loaded, err := config.Load(w.in)
	if err != nil {
		w.report(Result{Cause: cause, Asked: w.answers, Err: err})
		return
	}
	if loaded.Path != "" {
		w.in.Path = loaded.Path
	}
	w.files, w.full = loaded.Files(), !blank(w.seen.texts[0])
	w.report(Result{Cause: cause, Asked: w.answers, Loaded: loaded})
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }
