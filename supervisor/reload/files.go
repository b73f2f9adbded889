package reload

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// state is what the files looked like.
type state struct {
	stamps [2]stamp
	texts  [2]string
}

// stamp is what a file that is written or replaced changes, as a rule.
type stamp struct {
	size    int64
	changed time.Time
	missing bool
}

// look reads the files; if not thorough, only those with another stamp. One that cannot be read is as it was: it may come
// back, and until then nothing is to be done.
func (w *Watcher) look(thorough bool) state {
	now := w.seen
	for i, path := range w.files {
		now.stamps[i] = stampOf(path)
		if now.stamps[i] == w.seen.stamps[i] && !thorough {
			continue
		}
		text, err := read(path)
		if err == nil {
			now.texts[i] = text
		} else if w.seen.texts[i] != "" && now.stamps[i] != w.seen.stamps[i] {
			w.log.Warn("settings cannot be read", "file", path, "error", err, "next", "what they said stays in force")
		}
	}
	return now
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20)) // more is not taken as settings anyway
	return string(text), err
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{missing: true}
	}
	return stamp{size: info.Size(), changed: info.ModTime()}
}

// follow watches each directory in which a change can make the paths of the files mean something else: the directory of the
// file, and those of all symbolic links on the way there.
func (w *Watcher) follow() {
	if w.notifier == nil {
		return
	}
	wanted := map[string]bool{}
	for _, path := range w.files {
		maps.Copy(wanted, directories(path))
	}
	for _, dir := range w.notifier.WatchList() {
		if !wanted[dir] {
			_ = w.notifier.Remove(dir) // gone already, perhaps
		}
	}
	for dir := range wanted {
		if err := w.notifier.Add(dir); err != nil { // again each time: it may have been replaced
			w.log.Debug("watch a directory", "dir", dir, "error", err, "next", "look every few seconds")
		}
	}
}

// directories are those that decide what path means, as far as they exist.
func directories(path string) map[string]bool {
	dirs := map[string]bool{}
	path, err := filepath.Abs(path)
	if err != nil {
		return dirs
	}
	const separator = string(filepath.Separator)
	done, rest := separator, strings.Split(strings.TrimPrefix(path, separator), separator)
	for links := 0; len(rest) > 0 && links < 40; {
		next := filepath.Join(done, rest[0])
		info, err := os.Lstat(next)
		switch {
		case err != nil: // it may appear here
			dirs[done] = true
			return dirs
		case info.Mode()&os.ModeSymlink != 0:
			dirs[done] = true
			links++
			target, err := os.Readlink(next)
			if err != nil {
				return dirs
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(done, target)
			}
			rest = append(strings.Split(strings.TrimPrefix(filepath.Clean(target), separator), separator), rest[1:]...)
			done = separator
		case len(rest) == 1:
			dirs[done] = true
			return dirs
		default:
			done, rest = next, rest[1:]
		}
	}
	return dirs
}
