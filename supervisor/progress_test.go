package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery/broker"
)

// fakeClaimer is a broker of which the test decides what it does.
type fakeClaimer struct {
	mu       sync.Mutex
	status   broker.Status
	backlog  bool
	err      error
	asked    int
	rebuilt  int
	onlyOnce bool // a rebuild cures it
}

func (f *fakeClaimer) Status() broker.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fakeClaimer) Backlogged(context.Context) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.backlog, f.err
}

func (f *fakeClaimer) Rebuild() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rebuilt++
	if f.onlyOnce {
		f.status.Claimed++
		f.backlog = false
	}
	return 6
}

func (f *fakeClaimer) set(edit func(*fakeClaimer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f)
}

func free() broker.Status { return broker.Status{Connected: true, Waiting: 2} }

// watched runs a watch for a time of the bubble and returns why it gave up.
func watched(t *testing.T, f *fakeClaimer, d time.Duration) (stalls int, gave error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	w := &watch{
		broker: f, life: newLife(time.Now()), log: hclog.NewNullLogger(), timeout: func() time.Duration { return time.Minute },
		stalls: func() { stalls++ }, give: func(err error) { gave = err },
	}
	w.run(ctx)
	return stalls, gave
}

func TestStallEndsInRebuildAndThenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeClaimer{status: free(), backlog: true}
		begun := time.Now()
		stalls, gave := watched(t, f, time.Hour)
		if gave == nil || !strings.Contains(gave.Error(), "no progress: messages wait, 2 slots are free") {
			t.Fatalf("gave up with %v", gave)
		}
		if f.rebuilt != 1 || stalls != 2 {
			t.Errorf("rebuilt %d times, %d stalls counted", f.rebuilt, stalls)
		}
		// A minute without a claim, a minute with messages seen to wait, and as long again with new connections.
		if took := time.Since(begun); took > 4*time.Minute {
			t.Errorf("gave up after %s", took)
		}
	})
}

func TestRebuildThatHelps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeClaimer{status: free(), backlog: true, onlyOnce: true}
		if _, gave := watched(t, f, 2*time.Hour); gave != nil || f.rebuilt != 1 {
			t.Errorf("rebuilt %d times, gave up with %v", f.rebuilt, gave)
		}
	})
}

func TestWhatIsNoStall(t *testing.T) {
	for name, c := range map[string]struct {
		f     *fakeClaimer
		asked bool
	}{
		"nothing waits":            {f: &fakeClaimer{status: free()}, asked: true},
		"no slot is free":          {f: &fakeClaimer{status: broker.Status{Connected: true}, backlog: true}},
		"broker is unreachable":    {f: &fakeClaimer{status: broker.Status{Waiting: 1, Condition: &broker.Condition{Name: "unreachable"}}, backlog: true}},
		"broker is loading":        {f: &fakeClaimer{status: broker.Status{Connected: true, Waiting: 1, Condition: &broker.Condition{Name: "loading"}}, backlog: true}},
		"Redis refuses the look":   {f: &fakeClaimer{status: free(), err: errors.New("NOPERM")}, asked: true},
		"draining ends the watch":  {f: &fakeClaimer{status: broker.Status{Connected: true, Waiting: 1, Draining: true}, backlog: true}},
		"look that is never there": {f: &fakeClaimer{status: free(), err: context.DeadlineExceeded}, asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, gave := watched(t, c.f, 3*time.Hour)
				if gave != nil || c.f.rebuilt > 0 {
					t.Errorf("rebuilt %d times, gave up with %v", c.f.rebuilt, gave)
				}
				if (c.f.asked > 0) != c.asked {
					t.Errorf("Redis was asked %d times", c.f.asked)
				}
			})
		})
	}
}

func TestEngineThatDoesNotAnswerIsAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeClaimer{status: free(), err: fmt.Errorf("%w: in time", broker.ErrSilent)}
		if _, gave := watched(t, f, time.Hour); gave == nil {
			t.Error("not noticed")
		}
	})
}

func TestClaimsNowAndThenAreProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeClaimer{status: free(), backlog: true}
		tick := time.NewTicker(50 * time.Second)
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-tick.C:
					f.set(func(f *fakeClaimer) { f.status.Claimed++ })
				case <-stop:
					return
				}
			}
		}()
		_, gave := watched(t, f, 6*time.Hour)
		close(stop)
		if gave != nil || f.rebuilt > 0 {
			t.Errorf("rebuilt %d times, gave up with %v", f.rebuilt, gave)
		}
	})
}

func TestIdleNodeAsksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeClaimer{status: free()}
		watched(t, f, 10*time.Hour)
		if perHour := f.asked / 10; perHour > 13 {
			t.Errorf("%d looks an hour while idle, want one in five minutes", perHour)
		}
	})
}

func TestProgressCheckThatStoppedIsNotLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Supervisor{life: newLife(time.Now())}
		s.life.is(consuming, "celery")
		s.life.looked(time.Now(), time.Minute)
		if ok, why := s.Live(); !ok {
			t.Errorf("not live: %s", why)
		}
		<-time.After(10 * time.Minute)
		if ok, _ := s.Live(); ok {
			t.Error("live without a progress check")
		}
	})
}
