package examples

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tool finds a program that not every machine has.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: needs %s: %v", name, err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := Files.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// writeUnit writes the unit with paths that exist on this machine.
func writeUnit(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "shop-worker.service")
	text := strings.NewReplacer("/usr/local/bin/agensium", "/bin/true", "/srv/shop", dir).Replace(read(t, "systemd/agensium.service"))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSystemdAcceptsTheUnit(t *testing.T) {
	out, err := exec.Command(tool(t, "systemd-analyze"), "verify", "--man=no", writeUnit(t)).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestSystemdRatesTheUnitWell(t *testing.T) {
	out, err := exec.Command(tool(t, "systemd-analyze"), "security", "--no-pager", "--offline=true", writeUnit(t)).CombinedOutput()
	found := regexp.MustCompile(`Overall exposure level for \S+: ([\d.]+)`).FindSubmatch(out)
	if err != nil || found == nil {
		t.Skipf("SKIPPED, NOT TESTED: systemd-analyze rates no files here: %v", err)
	}
	if level, _ := strconv.ParseFloat(string(found[1]), 64); level > 2 {
		t.Errorf("exposure %v of 10\n%s", level, out)
	}
}

// What the unit must say for tasks to survive a stop, and a restart to find what it held.
func TestUnitKeepsTasks(t *testing.T) {
	unit := read(t, "systemd/agensium.service")
	for _, line := range []string{"Type=notify", "KillMode=mixed", "OOMPolicy=continue", "StateDirectory=agensium", "RestartPreventExitStatus=2", "DynamicUser=yes"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit does not say %s", line)
		}
	}
}

func TestDockerfile(t *testing.T) {
	var stages []string
	last := map[string]string{} // instruction → arguments, of the last stage
	for _, line := range strings.Split(read(t, "docker/Dockerfile"), "\n") {
		instruction, arguments, _ := strings.Cut(line, " ")
		switch instruction {
		case "", "#":
			continue
		case "FROM":
			clear(last)
			if _, name, found := strings.Cut(arguments, " AS "); found {
				stages = append(stages, name)
			}
		case "COPY":
			if from, found := strings.CutPrefix(arguments, "--from="); found && !slices.Contains(stages, strings.Fields(from)[0]) {
				t.Errorf("copies from a stage that is not there: %s", line)
			}
		case "ARG", "ENV", "RUN", "WORKDIR", "USER", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD":
		default:
			t.Errorf("instruction %q", line)
		}
		last[instruction] = arguments
	}
	if last["ENTRYPOINT"] != `["agensium"]` || last["CMD"] != `["worker"]` {
		t.Errorf("PID 1 is %s %s", last["ENTRYPOINT"], last["CMD"])
	}
	if user := last["USER"]; user == "" || strings.HasPrefix(user, "0") || strings.HasPrefix(user, "root") {
		t.Errorf("runs as %q", user)
	}
}

func TestComposeFile(t *testing.T) {
	docker := tool(t, "docker")
	if err := exec.Command(docker, "compose", "version").Run(); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: needs docker compose: %v", err)
	}
	if out, err := exec.Command(docker, "compose", "-f", "docker/compose.yaml", "config", "-q").CombinedOutput(); err != nil {
		t.Errorf("docker compose config: %v\n%s", err, out)
	}
}

// What the file for Railway tells the platform is what agensium serves and reads.
func TestRailwayFile(t *testing.T) {
	file := read(t, "railway/.railway/railway.ts")
	for _, part := range []string{
		`from "railway/iac"`, `export default defineRailway(`, `builder: "DOCKERFILE"`, `healthcheck: "/readyz"`, "drainingSeconds,", "overlapSeconds: 0",
		"RAILWAY_DEPLOYMENT_DRAINING_SECONDS: String(drainingSeconds)", "REDIS_URL: broker.env.REDIS_URL", "PORT:", "replicas:", "memoryBytes:",
	} {
		if !strings.Contains(file, part) {
			t.Errorf("it does not say %s", part)
		}
	}
	moving, err := os.ReadFile("../celery/MOVING.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range regexp.MustCompile(`(?m)^      ([A-Z_]+):`).FindAllStringSubmatch(file, -1) {
		if !strings.Contains(string(moving), "`"+variable[1]+"`") {
			t.Errorf("agensium does not read %s", variable[1])
		}
	}
}

// The Dockerfile's steps have pins and leave nothing behind that a linter would ask about.
func TestDockerfileIsTidy(t *testing.T) {
	for i, line := range strings.Split(read(t, "docker/Dockerfile"), "\n") {
		for bad, why := range map[string]string{
			`^FROM [^ :]+( |$)`: "an image without a tag", `^FROM \S+:latest`: "an image that changes", `^ADD `: "COPY is enough", `\bsudo\b`: "sudo",
			`^RUN .*apt-get install`: "a package that is not pinned", `^RUN cd `: "WORKDIR", `^MAINTAINER`: "a label", `^(CMD|ENTRYPOINT) [^[]`: "a shell as PID 1",
			`pip install .*http:`: "an index without TLS",
		} {
			if regexp.MustCompile(bad).MatchString(line) {
				t.Errorf("line %d: %s: %s", i+1, why, line)
			}
		}
	}
	if !strings.Contains(read(t, "docker/Dockerfile"), "PIP_NO_CACHE_DIR=1") {
		t.Error("pip's cache stays in the image")
	}
}
