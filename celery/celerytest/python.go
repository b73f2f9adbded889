package celerytest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Venvs are the virtual environments with real Celery that tests know: a name for each version line.
var Venvs = []string{"celery-latest", "celery-5.5", "celery-5.2"}

// Venv returns the Python interpreter of a virtual environment. They lie in the directory AGENSIUM_VENVS, by default
// .cache/venvs beside go.mod, where `make venvs` puts them.
func Venv(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("AGENSIUM_VENVS")
	if dir == "" {
		dir = filepath.Join(moduleRoot(t), ".cache", "venvs")
	}
	python := filepath.Join(dir, name, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		need(t, "celery", fmt.Sprintf("%v (AGENSIUM_VENVS names the directory of virtual environments)", err))
	}
	return python
}

// RunPython runs a script to its end and returns what it wrote to stdout. The test fails if the script does.
func RunPython(t testing.TB, python, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*Backstop)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-c", script)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = t.TempDir()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python script: %v\n%s", err, stderr.String())
	}
	return string(out)
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("find go.mod above the working directory: there is none")
		}
		dir = up
	}
}
