package python

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
)

func TestMain(m *testing.M) {
	if os.Getenv(supervisorEnv) != "" {
		os.Exit(superviseUntilKilled())
	}
	_ = child.BecomeSubreaper() // as the supervisor does
	goleak.VerifyTestMain(m)
}

// releases are the virtual environments that tests run in, oldest Celery first.
var releases = []string{"celery-5.2", "celery-5.5", "celery-latest"}

// latest is where tests run that are not about a release.
const latest = "celery-latest"

// interpreter finds the Python of a virtual environment, or skips the test.
func interpreter(t testing.TB, release string) string {
	t.Helper()
	dir := os.Getenv("AGENSIUM_VENVS")
	if dir == "" {
		dir = filepath.Join("..", "..", ".cache", "venvs")
	}
	path, err := filepath.Abs(filepath.Join(dir, release, "bin", "python"))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		missing(t, "celery", "no virtual environment "+release+" in "+dir)
	}
	return path
}

// missing skips a test for lack of something, unless AGENSIUM_REQUIRE names it.
func missing(t testing.TB, what, why string) {
	t.Helper()
	for _, required := range strings.Split(os.Getenv("AGENSIUM_REQUIRE"), ",") {
		if required == what {
			t.Fatalf("AGENSIUM_REQUIRE has %s: %s", what, why)
		}
	}
	t.Skipf("SKIPPED for lack of %s: %s", what, why)
}

// client is a real Celery client that sends to memory.
type client struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startClient(t testing.TB, python, dir, module string, env ...string) *client {
	t.Helper()
	script, err := filepath.Abs("testdata/client.py")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, script, module)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return &client{in: in, out: bufio.NewReader(out)}
}

// sent is a message and the queue that it went to.
type sent struct {
	queue string
	task  *celery.Task
}

// send evaluates an expression and returns what it sent.
func (c *client) send(t testing.TB, expression string) []sent {
	t.Helper()
	if _, err := io.WriteString(c.in, expression+"\n"); err != nil {
		t.Fatal(err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("client: %s: %v", expression, err)
	}
	var messages [][2]string
	if err := json.Unmarshal(line, &messages); err != nil {
		t.Fatal(err)
	}
	var all []sent
	for _, m := range messages {
		all = append(all, sent{m[0], taskOf(t, []byte(m[1]))})
	}
	return all
}

// one is send for expressions that send one message.
func (c *client) one(t testing.TB, expression string) *celery.Task {
	t.Helper()
	all := c.send(t, expression)
	if len(all) != 1 {
		t.Fatalf("client: %s sent %d messages", expression, len(all))
	}
	return all[0].task
}

// taskOf reads what the tests need of a message.
func taskOf(t testing.TB, raw []byte) *celery.Task {
	t.Helper()
	var m struct {
		Headers    struct{ ID, Task string }
		Properties struct {
			CorrelationID string `json:"correlation_id"`
		}
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	id := m.Headers.ID
	if id == "" {
		id = m.Properties.CorrelationID
	}
	return &celery.Task{ID: id, Name: m.Headers.Task, Raw: raw}
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

// start starts an application and closes it at the end of the test.
func start(t testing.TB, o Options) *Application {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if o.Node == "" {
		o.Node = "celery@test"
	}
	app, err := Start(ctx, o)
	if err != nil {
		var failed *StartError
		if errors.As(err, &failed) {
			t.Log(strings.Join(failed.Notes(), "\n"))
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return app
}

// child1 starts a child for slot 1 and closes it at the end of the test.
func child1(t testing.TB, app *Application) *Child {
	t.Helper()
	executor, err := app.Start(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := executor.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return executor.(*Child)
}

func jobOf(task *celery.Task) pool.Job { return pool.Job{Task: task} }
