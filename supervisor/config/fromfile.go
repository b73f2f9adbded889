package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
)

// fileSuffix makes of the name of a variable that of the variable which says in which file it is, as Docker's images have it.
const fileSuffix = "_FILE"

// files are variables that files hold: systemd credentials, mounted secrets. What they hold is never part of an error.
type files struct {
	dir string // what a relative name is relative to

	mu       sync.Mutex
	values   map[string]string
	problems map[string]Problem
}

// newFiles looks for relative names in $CREDENTIALS_DIRECTORY if systemd sets it, else in dir.
func newFiles(dir string, real Lookup) *files {
	if credentials, _ := real("CREDENTIALS_DIRECTORY"); credentials != "" {
		dir = credentials
	}
	return &files{dir: dir, values: map[string]string{}, problems: map[string]Problem{}}
}

// read returns what the variable name is according to the file at path, which variable was found in source.
func (f *files) read(name, path, source string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if value, ok := f.values[name]; ok {
		return value, true
	}
	if _, bad := f.problems[name]; bad {
		return "", false
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.dir, path)
	}
	text, err := readFile(path)
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case err != nil:
	case value == "":
		err = errors.New("is empty")
	case strings.ContainsAny(value, "\r\n\x00"):
		err = errors.New("has more than one line")
	}
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		f.problems[name] = Problem{File: source, Key: name + fileSuffix, Message: "names " + path + ": " + err.Error()}
		return "", false
	}
	f.values[name] = value
	return value, true
}
