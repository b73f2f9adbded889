package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/agensium/agensium/celery"
)

// Program is the path of the program: as a shell in the command's directory, with the command's environment, would find it. The error says
// what is missing.
func (s *Spec) Program() (string, error) {
	if s.Directory != "" {
		if _, err := os.Stat(s.Directory); err != nil {
			return "", fmt.Errorf("find program of task %s: working directory: %w", s.Task, err)
		}
	}
	path, err := s.look(s.Run[0])
	if err != nil && strings.ContainsAny(s.Run[0], " \t") {
		err = fmt.Errorf("%w: each argument is an element of run, as in [\"cat\", \"-n\"]", err)
	}
	if err != nil {
		return "", fmt.Errorf("find program of task %s: %w", s.Task, err)
	}
	return path, nil
}

func (s *Spec) look(name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		path, err := filepath.Abs(s.within(name))
		if err != nil {
			return "", err
		}
		return exec.LookPath(path)
	}
	list, own := s.Environment["PATH"]
	if !own {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(list) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", &exec.Error{Name: name, Err: fmt.Errorf("%w of the command's environment: %s", exec.ErrNotFound, list)}
}

// within is where a relative path leads from the command's directory.
func (s *Spec) within(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Directory, path)
}

// explained adds what the system's words for a program that is there and does not start leave out.
func explained(err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w: it is no program of this system, nor a script whose first line is #! and its interpreter", err)
	case errors.Is(err, syscall.E2BIG):
		return fmt.Errorf("%w: what is that large comes in on stdin, with input = \"json\"", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: the program is there, but not the interpreter that its first line names, or a library", err)
	}
	return err
}

// exceptionOf is what Python's subprocess would raise for a program that did not start.
func exceptionOf(err error) celery.Exception {
	class := "OSError"
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		class = "FileNotFoundError"
	case errors.Is(err, fs.ErrPermission):
		class = "PermissionError"
	}
	return celery.NewException(class, err.Error())
}
