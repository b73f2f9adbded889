package stored

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVersions(t *testing.T) {
	client := celerytest.StartRedis(t).Client(0)
	ctx := t.Context()
	s := New(client, "p:")
	if v, err := s.Latest(ctx); v != nil || err != nil {
		t.Fatalf("without any: %+v, %v", v, err)
	}
	heard := client.Subscribe(ctx, Channel("p:"))
	defer heard.Close()
	if _, err := heard.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range Kept + 3 {
		v, err := s.Push(ctx, i, Version{By: "me@here", Text: fmt.Sprint("# ", i+1, "\n")})
		if err != nil || v.Number != i+1 {
			t.Fatalf("push %d: %+v, %v", i, v, err)
		}
		m, err := heard.ReceiveMessage(ctx)
		if err != nil || m.Payload != strconv.Itoa(i+1) {
			t.Fatalf("announced: %v, %v", m, err)
		}
	}
	if _, err := s.Push(ctx, 1, Version{}); !errors.Is(err, ErrConflict) {
		t.Errorf("push on an old version: %v", err)
	}
	all, err := s.History(ctx)
	if err != nil || len(all) != Kept || all[0].Number != Kept+3 || all[Kept-1].Number != 4 {
		t.Errorf("history: %+v, %v", all, err)
	}
	if v, err := s.Latest(ctx); err != nil || v.Text != fmt.Sprint("# ", Kept+3, "\n") || v.By != "me@here" {
		t.Errorf("latest: %+v, %v", v, err)
	}
}

func TestOfManyPushesOnOneVersionOneIsStored(t *testing.T) {
	server := celerytest.StartRedis(t)
	var stored atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		s := New(server.Client(0), "")
		all.Go(func() {
			switch _, err := s.Push(t.Context(), 0, Version{Text: strconv.Itoa(i)}); {
			case err == nil:
				stored.Add(1)
			case !errors.Is(err, ErrConflict):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := stored.Load(); n != 1 {
		t.Errorf("%d pushes were stored, want 1", n)
	}
}

func TestWhatIsNotOursIsAnError(t *testing.T) {
	client := celerytest.StartRedis(t).Client(0)
	client.LPush(t.Context(), "agensium:settings", "nonsense")
	s := New(client, "")
	if _, err := s.Latest(t.Context()); err == nil {
		t.Error("nonsense was read")
	}
	if _, err := s.Push(t.Context(), 0, Version{}); err == nil {
		t.Error("pushed over nonsense")
	}
}
