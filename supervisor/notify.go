package supervisor

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// systemd is told how the node is, as sd_notify(3) has it: READY=1 when it consumes, STATUS= in words, WATCHDOG=1 only while it makes
// progress, more time while it starts, reloads or drains. A reload lasts until the settings and the application are in place or were refused:
// systemd knows no way to say which, but STATUS= does.
type systemd struct {
	log      hclog.Logger
	watchdog time.Duration // how long systemd waits for a sign; 0: it does not
	node     interface {
		Live() (bool, string)
		Ready() (bool, string)
	}
	life    *life
	reloads *reloads
	grace   time.Duration // what the end takes besides the drain
	quit    chan struct{}

	// of the loop
	ready     bool
	stopping  bool
	reloading bool
	told      uint64 // the newest reload that systemd knows of
	status    string
}

// beat is how often the node is looked at without a cause, and how often while it is not ready yet.
const (
	beat    = 5 * time.Second
	unready = 100 * time.Millisecond
)

// newSystemd returns nil if no service manager listens.
func newSystemd(s *Supervisor) *systemd {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("systemd's watchdog", "error", err, "next", "send no sign of life")
	}
	return &systemd{log: s.log.Named("systemd"), watchdog: watchdog, node: s, life: s.life, reloads: &s.reloads, grace: endGrace, quit: make(chan struct{})}
}

// endGrace is what follows a drain at most: kill, close broker and application.
const endGrace = 2*killGrace + 3*closeTimeout

func (n *systemd) run() error {
	every := beat
	if n.watchdog > 0 {
		every = min(every, n.watchdog/2)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.quit:
			return nil
		case <-n.life.changed:
		case <-timer.C:
		}
		n.look(time.Now(), every)
		next := every
		if !n.ready && !n.stopping {
			next = min(every, unready)
		}
		timer.Reset(next)
	}
}

func (n *systemd) stop(error) { close(n.quit) }

// look says what has changed.
func (n *systemd) look(now time.Time, every time.Duration) {
	live, why := n.node.Live()
	ready, status := n.node.Ready()
	m, r := n.life.now(), n.reloads.status()
	switch {
	case !live:
		status = why
	case m.phase == draining:
	case r.Asked > r.Answered:
		status += "; reloading"
	case r.Error != "":
		why, _, _ := strings.Cut(r.Error, "\n")
		status += "; the last reload was refused: " + why
	}
	if n.ready && !n.stopping && m.phase != draining && r.Asked > n.told {
		n.reloading, n.told = true, r.Asked
		n.say("RELOADING=1", "MONOTONIC_USEC="+monotonic())
	}
	var say []string
	switch {
	case m.phase == draining:
		if !n.stopping {
			n.stopping = true
			say = append(say, daemon.SdNotifyStopping)
		}
		// The drain has an end of its own. Until that has passed it is not stuck, why ever it began.
		if live = now.Before(m.ends.Add(n.grace)); live {
			say = append(say, extend(3*every))
		}
	case ready && !n.ready:
		n.ready, n.told = true, r.Answered
		say = append(say, daemon.SdNotifyReady)
	case n.reloading && r.Answered >= n.told:
		n.reloading = false
		say = append(say, daemon.SdNotifyReady)
	case n.reloading:
		say = append(say, extend(3*every))
	case !n.ready && status != n.status:
		say = append(say, extend(startGrace)) // a broker that is away is waited for
	case !n.ready:
		say = append(say, extend(3*every))
	}
	if status != n.status {
		n.status = status
		say = append(say, "STATUS="+strings.ReplaceAll(status, "\n", " "))
	}
	if live && n.watchdog > 0 {
		say = append(say, daemon.SdNotifyWatchdog)
	}
	n.say(say...)
}

const startGrace = 15 * time.Second

func extend(d time.Duration) string { return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds()) }

func (n *systemd) say(lines ...string) {
	if len(lines) == 0 {
		return
	}
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		n.log.Warn("tell systemd", "error", err)
	}
}

// monotonic is the time in microseconds by the clock that systemd compares with.
func monotonic() string {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it cannot fail
	return fmt.Sprint(t.Nano() / 1000)
}

// ofSystemd are variables that are meant for this process and not for its children.
var ofSystemd = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"}
