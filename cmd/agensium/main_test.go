package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts run this program as the command agensium; tests that need it as a process of its own start the test binary under that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"agensium": main})
}
