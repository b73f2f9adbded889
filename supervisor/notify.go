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
// progress, more time while it starts or drains. The loop is run; reloading may be called by anyone.
type systemd struct {
	log      hclog.Logger
	watchdog time.Duration // how long systemd waits for a sign; 0: it does not
	node     interface {
		Live() (bool, string)
		Ready() (bool, string)
	}
	life  *life
	grace time.Duration // what the end takes besides the drain
	quit  chan struct{}

	// of the loop
	ready    bool
	stopping bool
	status   string
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
	return &systemd{log: s.log.Named("systemd"), watchdog: watchdog, node: s, life: s.life, grace: endGrace, quit: make(chan struct{})}
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
	m := n.life.now()
	if !live {
		status = why
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
		n.ready = true
		say = append(say, daemon.SdNotifyReady)
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

// reloading tells systemd that settings and application are asked for anew, and that the node is ready: it is all the time, since the old
// ones are in place until the new ones are. It may be called without systemd.
func (n *systemd) reloading(do func()) {
	if n == nil {
		do()
		return
	}
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it cannot fail
	n.say("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", t.Nano()/1000))
	do()
	n.say(daemon.SdNotifyReady)
}

// ofSystemd are variables that are meant for this process and not for its children.
var ofSystemd = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"}
