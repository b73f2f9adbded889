package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/agensium/agensium/examples"
	"github.com/agensium/agensium/supervisor/config"
)

type initCommand struct {
	Systemd bool `help:"Write NAME-worker.service, a hardened unit."`
	Docker  bool `help:"Write Dockerfile, .dockerignore and compose.yaml."`
	Railway bool `help:"Write .railway/railway.ts, and the Dockerfile that it names."`
}

// Run is called by kong. What is there already stays as it is.
func (k *initCommand) Run(c *call) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	p := findProject(dir)
	if c.cli.App != "" {
		p.apps = []string{c.cli.App}
	}
	for _, f := range k.files(p) {
		if err := c.write(f); err != nil {
			return err
		}
	}
	switch len(p.apps) {
	case 0:
		fmt.Fprintln(c.std.out, "no Celery application found here: set python.app in agensium.toml, or give -A module:app")
	case 1:
		fmt.Fprintln(c.std.out, "application:", p.apps[0])
	default:
		fmt.Fprintf(c.std.out, "application: %s; found as well: %s\n", p.apps[0], strings.Join(p.apps[1:], ", "))
	}
	fmt.Fprintln(c.std.out, "next: agensium check")
	return nil
}

// file is one that init writes.
type file struct {
	path, text string
}

func (k *initCommand) files(p project) []file {
	files := []file{{"agensium.toml", settingsFile(p.app())}, {".env.example", environmentExample}}
	if k.Systemd {
		files = append(files, file{p.name + "-worker.service", p.unit(template("systemd/agensium.service"))})
	}
	if k.Docker || k.Railway {
		files = append(files, file{"Dockerfile", p.dockerfile(template("docker/Dockerfile"))},
			file{".dockerignore", template("docker/dockerignore")})
	}
	if k.Docker {
		files = append(files, file{"compose.yaml", template("docker/compose.yaml")})
	}
	if k.Railway {
		files = append(files, file{".railway/railway.ts", p.railway(template("railway/.railway/railway.ts"))})
	}
	return files
}

// template is a file that the program carries.
func template(path string) string {
	text, err := examples.Files.ReadFile(path)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// write creates a file, and leaves one that exists alone.
func (c *call) write(f file) error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintln(c.std.out, "kept ", f.path, "(it was there)")
		return nil
	}
	if err != nil {
		return err
	}
	_, err = out.WriteString(f.text)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	fmt.Fprintln(c.std.out, "wrote", f.path)
	return nil
}

// settingsFile is the reference with every setting commented out but the application, so that what the application and the
// environment say counts until somebody decides otherwise.
func settingsFile(app string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(config.Reference, "\n") {
		switch name, _, isSetting := strings.Cut(line, " ="); {
		case !isSetting || strings.HasPrefix(line, "#"):
			b.WriteString(line)
		case name == "app" && app != "":
			fmt.Fprintf(&b, "app = %q\n", app)
		default:
			b.WriteString("#" + line)
		}
	}
	return b.String()
}

const environmentExample = `# Copy this to .env and fill it in; .env stays out of version control. The environment is stronger than .env, and both are read by
# agensium.toml ("${NAME}") and by the application.

# The broker and the results, unless the application or agensium.toml says otherwise. TLS: rediss://host:6379/0?ssl_cert_reqs=required
REDIS_URL=redis://localhost:6379/0
# Or each by itself, stronger than the application's own settings:
#CELERY_BROKER_URL=
#CELERY_RESULT_BACKEND=

# The most tasks at a time.
#CELERY_WORKER_CONCURRENCY=4
# false: stay up and take no task.
#USE_CELERY=true
# Where health, metrics and status are served: on all addresses if it is set, else on 127.0.0.1:8080.
#PORT=8080
`
