package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// project is what init finds out about an application by looking at its files, without running it.
type project struct {
	dir          string
	name         string   // fit for a file, a unit and a container
	apps         []string // module:attribute, the most likely first
	requirements bool     // there is a requirements.txt
	pyproject    bool
	python       string // version in .python-version, if it is one
}

var (
	celeryApp = regexp.MustCompile(`(?m)^([A-Za-z_]\w*)\s*(?::\s*[\w.]+\s*)?=\s*(?:celery\.)?Celery\(`)
	notAName  = regexp.MustCompile(`[^a-z0-9]+`)
	version2  = regexp.MustCompile(`^3\.\d+`)
)

const (
	deepest  = 4       // directories below the one that is looked at
	mostRead = 1 << 20 // bytes of a Python file
)

func findProject(dir string) project {
	p := project{dir: dir, name: strings.Trim(notAName.ReplaceAllString(strings.ToLower(filepath.Base(dir)), "-"), "-")}
	if p.name == "" {
		p.name = "app"
	}
	exists := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	p.requirements, p.pyproject = exists("requirements.txt"), exists("pyproject.toml")
	if text, err := os.ReadFile(filepath.Join(dir, ".python-version")); err == nil {
		p.python = version2.FindString(strings.TrimSpace(string(text)))
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return nil // what cannot be read is not looked at
		case d.IsDir() && rel != "." && (skipped(path, d.Name()) || strings.Count(rel, string(filepath.Separator)) >= deepest):
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(rel, ".py"):
			p.apps = append(p.apps, appsIn(path, rel)...)
		}
		return nil
	})
	slices.SortStableFunc(p.apps, func(a, b string) int { return strings.Count(a, ".") - strings.Count(b, ".") })
	return p
}

// skipped are directories of others: hidden ones, virtual environments, tests.
func skipped(path, name string) bool {
	if strings.HasPrefix(name, ".") || slices.Contains([]string{"node_modules", "site-packages", "__pycache__", "tests", "test"}, name) {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "pyvenv.cfg"))
	return err == nil
}

func appsIn(path, rel string) (apps []string) {
	info, err := os.Stat(path)
	if err != nil || info.Size() > mostRead {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	module := strings.ReplaceAll(strings.TrimSuffix(rel, ".py"), string(filepath.Separator), ".")
	module = strings.TrimPrefix(strings.TrimSuffix(module, ".__init__"), "src.")
	for _, found := range celeryApp.FindAllStringSubmatch(string(text), -1) {
		apps = append(apps, module+":"+found[1])
	}
	return apps
}

// app is the most likely application, or "".
func (p project) app() string {
	if len(p.apps) == 0 {
		return ""
	}
	return p.apps[0]
}

// The templates are made for a project named shop in /srv/shop, with a requirements.txt.
func (p project) unit(text string) string {
	switch top, _, _ := strings.Cut(strings.TrimPrefix(p.dir, "/"), "/"); top {
	case "home", "root": // what ProtectHome hides
		text = strings.Replace(text, "\nProtectHome=yes\n", "\n# The application is in a home directory.\nProtectHome=read-only\n", 1)
	}
	return strings.NewReplacer("/srv/shop", p.dir, "0644 agensium.service", "0644 "+p.name+"-worker.service", "shop", p.name).Replace(text)
}

func (p project) railway(text string) string {
	return strings.ReplaceAll(text, `project("shop"`, `project("`+p.name+`"`)
}

const (
	byRequirements = "COPY requirements.txt ./\nRUN pip install -r requirements.txt\n"
	byPyproject    = "COPY . ./\nRUN pip install .\n"
	byName         = "RUN pip install 'celery[redis]'\n"
)

func (p project) dockerfile(text string) string {
	switch {
	case p.requirements:
	case p.pyproject:
		text = strings.ReplaceAll(text, byRequirements, byPyproject)
	default:
		text = strings.ReplaceAll(text, byRequirements, byName)
	}
	if p.python != "" {
		text = strings.ReplaceAll(text, "PYTHON_VERSION=3.13\n", "PYTHON_VERSION="+p.python+"\n")
	}
	return text
}
