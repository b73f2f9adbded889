package main

import (
	"strings"
	"testing"

	"github.com/agensium/agensium/supervisor"
)

func TestStatusShowsSlotsThatHandlersHold(t *testing.T) {
	var out strings.Builder
	render(&out, &supervisor.Status{
		Application: &supervisor.Application{Tasks: 3},
		Slots: &supervisor.SlotsStatus{Max: 2, States: map[string]int{"starting": 1, "idle": 1}, Overrun: 1,
			Slots: []supervisor.SlotStatus{{ID: 1, State: "idle"}, {ID: 2, State: "starting", Overrun: true}}},
	})
	for _, want := range []string{"none, 3 tasks in Go or as programs", "1 held by Go handlers that were given up and still run", "  2  held by a handler that was given up"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
