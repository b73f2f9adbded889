package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoInterpreter says that no Python was found where it was looked for.
var ErrNoInterpreter = errors.New("no Python interpreter")

// Interpreter finds the Python that runs the application: python.interpreter, else that of $VIRTUAL_ENV, else that of .venv in
// the application's directory, else python3 on $PATH. why says in a few words which it was. The path is not resolved
// further: a virtual environment is known by the name of its link.
func Interpreter(p Python, env Lookup) (path, why string, err error) {
	if p.Interpreter != "" {
		if strings.ContainsRune(p.Interpreter, filepath.Separator) {
			path = p.Interpreter
			if !filepath.IsAbs(path) {
				path = filepath.Join(p.Directory, path)
			}
			if err := executable(path); err != nil {
				return "", "", fmt.Errorf("%w: python.interpreter = %q: %w", ErrNoInterpreter, p.Interpreter, err)
			}
			return path, "python.interpreter", nil
		}
		path, err = onPath(p.Interpreter, env)
		return path, fmt.Sprintf("python.interpreter = %q on PATH", p.Interpreter), err
	}
	passed := ""
	if dir, _ := env("VIRTUAL_ENV"); dir != "" {
		path = filepath.Join(dir, "bin", "python")
		if executable(path) == nil {
			return path, "VIRTUAL_ENV", nil
		}
		passed = "; VIRTUAL_ENV has none"
	}
	path = filepath.Join(p.Directory, ".venv", "bin", "python")
	if executable(path) == nil {
		return path, ".venv in the application's directory" + passed, nil
	}
	path, err = onPath("python3", env)
	return path, "python3 on PATH, no virtual environment" + passed, err
}

func onPath(name string, env Lookup) (string, error) {
	dirs, _ := env("PATH")
	for _, dir := range filepath.SplitList(dirs) {
		if path := filepath.Join(dir, name); filepath.IsAbs(path) && executable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s is not on PATH (%s); set python.interpreter, or make a virtual environment in .venv", ErrNoInterpreter, name, dirs)
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			return pathErr.Err
		}
		return err
	case info.IsDir():
		return errors.New("is a directory")
	case info.Mode()&0o111 == 0:
		return errors.New("is not executable")
	}
	return nil
}
