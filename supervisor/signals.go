package supervisor

import (
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// signals turns what the operating system says into what the supervisor does, as Celery's worker does: TERM or the
// first INT is a warm stop, QUIT or the second INT a cold one, HUP a reload, of settings and application. It listens on during a drain.
type signals struct {
	warm, cold, reload func(why string)
	extra              <-chan os.Signal // nil: ask the operating system
	quit               chan struct{}
	once               sync.Once
}

func newSignals(given <-chan os.Signal) *signals {
	return &signals{extra: given, quit: make(chan struct{})}
}

func (s *signals) run() error {
	heard := s.extra
	if heard == nil {
		c := make(chan os.Signal, 8)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
		defer signal.Stop(c)
		heard = c
	}
	remapped := os.Getenv("REMAP_SIGTERM") == "SIGQUIT" // as Celery on Heroku
	interrupts := 0
	for {
		select {
		case <-s.quit:
			return nil
		case sig := <-heard:
			name := "signal " + signalName(int(sig.(syscall.Signal)))
			switch {
			case sig == syscall.SIGHUP:
				s.reload(name)
			case sig == syscall.SIGQUIT, sig == syscall.SIGTERM && remapped:
				s.cold(name)
			case sig == syscall.SIGINT:
				if interrupts++; interrupts > 1 {
					s.cold("second " + name)
				} else {
					s.warm(name)
				}
			default:
				s.warm(name)
			}
		}
	}
}

func (s *signals) stop(error) { s.once.Do(func() { close(s.quit) }) }

func signalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return "signal " + strings.TrimSpace(syscall.Signal(n).String())
}
