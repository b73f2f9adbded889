package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// measureTimeout ends a measurement in which a worker stands still.
const measureTimeout = 3 * time.Minute

//go:embed apps/*.py
var apps embed.FS

// bench is what all measurements share: one Redis, one directory with the application, messages to copy.
type bench struct {
	settings
	progress io.Writer
	dir      string // temporary: application, files that tasks write
	python   string
	server   *server
	messages map[string]message // by task name
	stubborn bool               // a worker of the running measurement did not end after TERM
}

// newBench starts Redis and lets the real client make one message of each task.
func newBench(ctx context.Context, s settings, progress io.Writer) (_ *bench, err error) {
	b := &bench{settings: s, progress: progress}
	if b.python, err = filepath.Abs(filepath.Join(s.venv, "bin", "python")); err != nil {
		return nil, err
	}
	if _, err = os.Stat(b.python); err != nil {
		return nil, fmt.Errorf("virtual environment: %w (make venvs makes it)", err)
	}
	if err = os.MkdirAll(filepath.Join(s.out, "log"), 0o755); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "agensium-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	for _, name := range []string{"benchapp.py", "templates.py"} {
		source, err := apps.ReadFile("apps/" + name)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(b.dir, name), source, 0o644); err != nil {
			return nil, err
		}
	}
	if b.server, err = startServer(ctx, s.redis, b.dir); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.python, "templates.py")
	cmd.Dir, cmd.Env, cmd.Stderr = b.dir, b.env(), progress
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("make messages with the Celery client: %w", err)
	}
	b.messages, err = parseMessages(out)
	return b, err
}

func (b *bench) close() {
	if b.server != nil {
		b.server.stop()
	}
	_ = os.RemoveAll(b.dir)
}

// env is the environment of a worker and of the client.
func (b *bench) env(more ...string) []string {
	bin := filepath.Dir(b.python)
	return append(append(os.Environ(),
		"CELERY_BROKER_URL="+b.server.url, "CELERY_RESULT_BACKEND="+b.server.url,
		"VIRTUAL_ENV="+filepath.Dir(bin), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"PYTHONPATH="+b.dir), more...)
}

// measure runs one measurement of one worker on an empty Redis. A pop that the last worker left behind must be gone: it would
// swallow a task of this one.
func (b *bench) measure(ctx context.Context, m measurement, w command) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	if err := b.server.deserted(ctx); err != nil {
		return nil, err
	}
	if err := b.server.client.FlushAll(ctx).Err(); err != nil {
		return nil, fmt.Errorf("empty Redis: %w", err)
	}
	b.stubborn = false
	return m.measure(ctx, b, w)
}

// environment says on what the figures were measured.
func (b *bench) environment(ctx context.Context) map[string]string {
	environment := map[string]string{
		"when":  time.Now().UTC().Format(time.RFC3339),
		"cores": fmt.Sprint(runtime.NumCPU()),
		"redis": b.server.version(ctx),
	}
	out, err := exec.CommandContext(ctx, b.python, "-c",
		"import platform, celery, kombu, redis; print(platform.python_version(), celery.__version__, kombu.__version__, redis.__version__)").Output()
	if versions := strings.Fields(string(out)); err == nil && len(versions) == 4 {
		for i, name := range []string{"python", "celery", "kombu", "redis-py"} {
			environment[name] = versions[i]
		}
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		environment["load before"] = strings.Fields(string(load))[0]
	}
	return environment
}
