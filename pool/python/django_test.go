package python

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery"
)

// shop is the Django project in testdata/apps/shop.py.
func shop(t *testing.T) Options {
	t.Helper()
	python := interpreter(t, latest)
	if err := exec.Command(python, "-c", "import django").Run(); err != nil {
		missing(t, "celery", "no Django in "+python)
	}
	env := append(os.Environ(), "SHOP_DATABASE="+filepath.Join(t.TempDir(), "db"))
	return Options{Interpreter: python, App: "shop", Dir: "testdata/apps", Env: env}
}

// A connection that two processes write to is of use to none. Celery forks most of its children before the parent has one.
func TestNoChildInheritsAConnectionToADatabase(t *testing.T) {
	o := shop(t)
	app, client := start(t, o), startClient(t, o.Interpreter, o.Dir, o.App, o.Env...)
	for _, when := range []string{"celeryd_after_setup", "worker_ready", "worker_before_create_process"} {
		switch when {
		case "worker_ready":
			app.Ready()
		case "worker_before_create_process":
			o.Env = append(o.Env, "SHOP_ASKS_AT_FORK=1")
			app = start(t, o)
		}
		t.Run(when, func(t *testing.T) {
			out, err := child1(t, app).Execute(context.Background(), jobOf(client.one(t, "inherits_nothing.delay()")))
			if err != nil || out.State != celery.StateSuccess {
				t.Errorf("%s %s %v", out.State, out.Exception, err)
			}
		})
	}
}

// Celery's fix-up runs Django's checks. What they report nobody sees there either; what they raise ends the start.
func TestDjangosChecksRunAtTheStart(t *testing.T) {
	o := shop(t)
	o.Env = append(o.Env, "SHOP_CHECK=no prices")
	_, err := Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "ImproperlyConfigured: no prices") {
		t.Errorf("a check that raises: %v", err)
	}
	o.Env = append(o.Env, "CELERY_SKIP_CHECKS=true") // --skip-checks
	start(t, o)
}
