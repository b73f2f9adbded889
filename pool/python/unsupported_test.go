package python

import (
	"path/filepath"
	"strings"
	"testing"
)

// What an application asks of Celery's worker and does not get is said, in every release; of one that asks for nothing, nothing.
func TestWhatIsNotSupportedIsSaid(t *testing.T) {
	dir, err := filepath.Abs("testdata/apps")
	if err != nil {
		t.Fatal(err)
	}
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			warnings := func(app string) string {
				a, err := Start(t.Context(), Options{Interpreter: interpreter(t, release), App: app, Dir: dir, Node: "n@test"})
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close(t.Context())
				return strings.Join(a.Info().Warnings, "\n")
			}
			said := warnings("unsupported:app")
			for _, want := range []string{
				"worker_pool = 'gevent'", "worker_consumer = 'mine:Consumer'", "worker_autoscaler = 'mine:Autoscaler'", "beat_schedule", "Listener",
				"the Strategy of tasks is not used, each message is a task of its own, run as it comes: unsupported.batched\n",
				"the Request of tasks is not used, its methods are not called: unsupported.watched"} {
				if !strings.Contains(said, want) {
					t.Errorf("nothing about %s in:\n%s", want, said)
				}
			}
			if said := warnings("commands:app"); said != "" {
				t.Errorf("warnings without a reason: %s", said)
			}
		})
	}
}
