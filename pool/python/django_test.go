package python

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/agensium/agensium/celery"
)

// djangoApp starts the application of testdata/apps/shop.py.
func djangoApp(t *testing.T) (*Application, *client) {
	t.Helper()
	python := interpreter(t, latest)
	if err := exec.Command(python, "-c", "import django").Run(); err != nil {
		missing(t, "celery", "no Django in "+python)
	}
	env := append(os.Environ(), "SHOP_DATABASE="+filepath.Join(t.TempDir(), "db"))
	app := start(t, Options{Interpreter: python, App: "shop", Dir: "testdata/apps", Env: env})
	return app, startClient(t, python, "testdata/apps", "shop", env...)
}

// A connection that two processes write to is of use to none. Celery forks most of its children before the parent has one.
func TestNoChildInheritsAConnectionToADatabase(t *testing.T) {
	app, client := djangoApp(t)
	for _, when := range []string{"celeryd_after_setup", "worker_ready"} {
		if when == "worker_ready" {
			app.Ready()
		}
		t.Run(when, func(t *testing.T) {
			out, err := child1(t, app).Execute(context.Background(), jobOf(client.one(t, "inherits_nothing.delay()")))
			if err != nil || out.State != celery.StateSuccess {
				t.Errorf("%s %s %v", out.State, out.Exception, err)
			}
		})
	}
}
