package supervisor

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/supervisor/autoscale"
)

func TestFleetIsMetOnlyWhileTheNodeWorks(t *testing.T) {
	var said []string
	answer, failure := map[string]string{}, error(nil)
	f := &fleet{log: hclog.NewNullLogger(), meet: func(_ context.Context, says []byte, _ time.Duration) (map[string]string, error) {
		said = append(said, string(says))
		return answer, failure
	}}
	now := time.Now()
	look := func(works bool, after time.Duration) {
		now = now.Add(after)
		f.look(t.Context(), works, now, func() nodeSays { return nodeSays{Capacity: 4, Size: 2} })
	}
	const mine = `{"capacity":4,"size":2,"queues":null}`
	look(false, 0)
	look(true, 0)             // said
	look(true, meetEvery/2)   // too early
	look(true, meetEvery/2+1) // said
	f.announced()
	look(true, meetSoon/2) // too early even so
	answer = map[string]string{"b": `{"capacity":8,"size":3,"queues":{"q":{"busy":2,"claimed":5}}}`, "c": `{"capacity":1}`, "d": "nonsense"}
	look(true, meetSoon) // said
	if diff := cmp.Diff([]string{mine, mine, mine}, said); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]autoscale.Peer{{ID: "b", Capacity: 8, Size: 3}, {ID: "c", Capacity: 1}}, f.list()); diff != "" {
		t.Error(diff)
	}
	if got := f.queue("q"); got != (queueSays{Busy: 2, Claimed: 5}) {
		t.Errorf("%+v", got)
	}
	failure = errors.New("away")
	look(true, meetEvery+1)
	if len(f.list()) != 2 {
		t.Error("an error makes the others vanish")
	}
	look(false, 0) // taken back
	look(false, 0)
	if n := len(said); n != 5 || said[4] != "" || len(f.list()) != 0 {
		t.Errorf("%q, %v", said, f.list())
	}
}
