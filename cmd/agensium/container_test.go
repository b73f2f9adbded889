package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/examples"
)

const containedApp = `
import os, subprocess
from celery import Celery
app = Celery("shop", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])

@app.task
def orphan():
    pid = int(subprocess.check_output(["sh", "-c", "setsid true >/dev/null 2>&1 & echo $!"]))
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return [os.getppid() > 0, sorted(k for k in os.environ if k in ("NOTIFY_SOCKET", "PORT"))]
`

// image returns the list of an instruction of the Dockerfile.
func image(t *testing.T, instruction string) (words []string) {
	t.Helper()
	text, err := examples.Files.ReadFile("docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + instruction + `.*?(\[.*\])$`).FindSubmatch(text)
	if found == nil || json.Unmarshal(found[1], &words) != nil {
		t.Fatalf("the Dockerfile has no %s", instruction)
	}
	return words
}

// TestImageAsPlainSteps does without a container engine what a container of the image does: runs the program as PID 1 with nothing in the environment but what the image and the platform set, asks the health check, and stops it.
func TestImageAsPlainSteps(t *testing.T) {
	t.Parallel()
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: needs unshare: %v", err)
	}
	inside := []string{"--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Geteuid() != 0 {
		inside = append(inside, "--map-root-user")
	}
	if out, err := exec.Command(unshare, append(inside, "true")...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: needs a PID namespace: %v: %s", err, out)
	}
	python, redis, app := celerytest.Venv(t, "celery-latest"), celerytest.StartRedis(t), t.TempDir()
	bin, err := exec.LookPath("agensium") // this program, as the tests have it
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tasks.py": containedApp, "agensium.toml": "[python]\napp = \"tasks:app\"\n"} {
		if err := os.WriteFile(filepath.Join(app, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	venv := filepath.Dir(filepath.Dir(python))
	set := []string{
		"VIRTUAL_ENV=" + venv, "PATH=" + filepath.Dir(bin) + ":" + venv + "/bin:/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1",
		fmt.Sprintf("PORT=%d", celerytest.FreePort(t)), "REDIS_URL=" + redis.URL(0), "RAILWAY_DEPLOYMENT_DRAINING_SECONDS=20",
	}
	alone := func(words ...string) []string { return append(append([]string{"env", "-i"}, set...), words...) }
	args := append(inside, alone(append(image(t, "ENTRYPOINT"), image(t, "CMD")...)...)...)
	container := celerytest.StartProcess(t, app, nil, unshare, args...)

	check := image(t, "HEALTHCHECK")
	celerytest.Eventually(t, "the health check to pass", func() bool {
		words := alone(check...)
		health := exec.Command(words[0], words[1:]...)
		health.Dir = app
		return health.Run() == nil
	})
	got := celerytest.RunPython(t, python, fmt.Sprintf("import sys; sys.path.insert(0, %q)\nfrom tasks import orphan\nprint(orphan.delay().get(timeout=25))", app), set...)
	if strings.TrimSpace(got) != "[True, ['PORT']]" {
		t.Errorf("the task saw %s", got)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", container.PID()))
	var first int
	if _, scan := fmt.Sscan(string(children), &first); err != nil || scan != nil {
		t.Fatal(err, scan)
	}
	if err := syscall.Kill(first, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := container.Wait(); status != 0 || !strings.Contains(container.Output(), "20s  (RAILWAY_DEPLOYMENT_DRAINING_SECONDS)") {
		t.Errorf("exit status %d", status)
	}
}
