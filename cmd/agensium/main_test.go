package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/agensium/agensium/celery/broker"
)

// diesAt is the variable that names the place in the code at which a process of a test kills itself.
const diesAt = "TEST_DIES_AT"

// The scripts run this program as the command agensium; tests that need it as a process of its own start the test binary under that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"agensium": func() {
		if place := broker.Place(os.Getenv(diesAt)); place != "" {
			broker.Passing = func(here broker.Place) {
				if here == place {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
					select {} // nothing is done after it
				}
			}
		}
		main()
	}})
}
