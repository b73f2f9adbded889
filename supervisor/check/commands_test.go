package check

import (
	"testing"

	"github.com/agensium/agensium/supervisor/config"
)

func TestProgramsOfCommandsAreLookedFor(t *testing.T) {
	with := func(list ...config.Command) Report {
		s := settings(t)
		s.Config.Commands = list
		return checkedWith(t, Subject{Settings: s})
	}
	there := config.Command{Task: "docs.size", Run: []string{"sh"}}
	with(there).expect(t, "commands", OK, "", "1, each with its program")
	with(there, config.Command{Task: "docs.thumb", Run: []string{"no-such-program"}}, config.Command{Task: "docs.away", Run: []string{"sh"}, Directory: "/no/such"}).
		expect(t, "commands", Failed, "", "docs.thumb", `"no-such-program"`, "docs.away: working directory", "/no/such", "run, directory and PATH")
	for _, r := range with() {
		if r.Name == "commands" {
			t.Error("there are none")
		}
	}
}
