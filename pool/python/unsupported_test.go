package python

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
			var info Info
			warnings := func(app string) string {
				a, err := Start(t.Context(), Options{Interpreter: interpreter(t, release), App: app, Dir: dir, Node: "n@test"})
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close(t.Context())
				info = a.Info()
				return strings.Join(info.Warnings, "\n")
			}
			said := warnings("unsupported:app")
			for _, want := range []string{
				"worker_pool = 'gevent'", "worker_consumer = 'mine:Consumer'", "worker_autoscaler = 'mine:Autoscaler'", "beat_schedule", "Listener",
				"what is sent to an exchange of type fanout is not heard, and queues that are bound to one stay empty: loud",
				"the Strategy of tasks is not used, each message is a task of its own, run as it comes: unsupported.batched\n",
				"the Request of tasks is not used, its methods are not called: unsupported.watched"} {
				if !strings.Contains(said, want) {
					t.Errorf("nothing about %s in:\n%s", want, said)
				}
			}
			want := QueueInfo{"celery", "direct", "video", []QueueInfo{{"log", "topic", "video.#", nil}}}
			if diff := cmp.Diff(want, info.Settings.Queues["many"], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("bound otherwise than the application says (-want +got):\n%s", diff)
			}
			if said := warnings("commands:app"); said != "" {
				t.Errorf("warnings without a reason: %s", said)
			}
		})
	}
}
