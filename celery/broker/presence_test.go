package broker

import (
	"maps"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestNodesMeet(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	a, b := start(t, r.URL(0)), start(t, r.URL(0))
	celerytest.Eventually(t, "both connected", func() bool { return a.Status().Connected && b.Status().Connected })
	ctx := bounded(t)
	heard := c.Subscribe(ctx, a.FleetChannel())
	defer heard.Close()
	if _, err := heard.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	meet := func(b *Broker, says string, want map[string]string) {
		t.Helper()
		if got, err := b.Meet(ctx, []byte(says), time.Minute); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q meets %v, %v, want %v", says, got, err, want)
		}
	}
	idA, idB := a.Status().Incarnation, b.Status().Incarnation
	meet(a, "I am a", map[string]string{})
	meet(b, "I am b", map[string]string{idA: "I am a"})
	meet(a, "I am still a", map[string]string{idB: "I am b"})
	meet(b, "", nil) // it takes back what it said
	meet(a, "alone", map[string]string{})
	for _, id := range []string{idA, idB} { // once each
		if m, err := heard.ReceiveMessage(ctx); err != nil || m.Payload != id {
			t.Errorf("announced: %v, %v, want %s", m, err, id)
		}
	}
	b.crash()
	if ttl := c.PTTL(ctx, "agensium:presence:"+idA).Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("what a dead node said would stay for %s", ttl)
	}
}
