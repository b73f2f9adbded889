package supervisor

import (
	"testing"
	"time"
)

func TestWaitsOfAQueueThatIsLookedAt(t *testing.T) {
	var w waits
	now := time.Unix(1_000_000, 0)
	if _, known := w.take("q", now); known {
		t.Error("a wait is known before anybody looked")
	}
	w.look("q", now, 0)
	now = now.Add(10 * time.Second) // ten come, one a second, and lie there
	if oldest := w.look("q", now, 10); oldest != 10*time.Second {
		t.Errorf("the oldest waited %s, want 10s: it came after the last look", oldest)
	}
	now = now.Add(10 * time.Second)
	for i := range 10 {
		got, known := w.take("q", now)
		if want := time.Duration(20-i) * time.Second; !known || got != want {
			t.Errorf("message %d waited %s, want %s", i, got, want)
		}
	}
	if got, known := w.take("q", now); !known || got != 0 {
		t.Errorf("one that came after the last look waited %s", got)
	}
	if oldest := w.look("q", now, 0); oldest != 0 {
		t.Errorf("the oldest of none waited %s", oldest)
	}
	if _, known := w.take("q", now.Add(2*lookedLately)); known {
		t.Error("a wait is known though nobody looks any more")
	}
}

func TestWaitsSeeWhatOthersTake(t *testing.T) {
	var w waits
	now := time.Unix(1_000_000, 0)
	w.look("q", now, 0)
	now = now.Add(10 * time.Second)
	w.look("q", now, 100)
	now = now.Add(10 * time.Second)
	w.look("q", now, 50) // another node took 50
	if got, _ := w.take("q", now); got != 15*time.Second {
		t.Errorf("the 51st waited %s, want 15s", got)
	}
}

func TestWaitsAreBounded(t *testing.T) {
	var w waits
	now := time.Unix(1_000_000, 0)
	for i := range 10_000 {
		now = now.Add(time.Second)
		w.look("q", now, int64(i))
	}
	if n := len(w.queues["q"].points); n > mostPoints {
		t.Errorf("%d points are remembered", n)
	}
	if oldest := w.look("q", now, 10_000); oldest < 9_000*time.Second || oldest > 10_000*time.Second {
		t.Errorf("the oldest waited %s, want about 10,000s", oldest)
	}
}

func BenchmarkTake(b *testing.B) {
	var w waits
	now := time.Unix(1_000_000, 0)
	for i := range 100 {
		w.look("q", now.Add(time.Duration(i)*time.Second), int64(i)*1000)
	}
	now = now.Add(101 * time.Second)
	for b.Loop() {
		w.take("q", now)
	}
}
