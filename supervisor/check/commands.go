package check

import (
	"strings"

	"github.com/agensium/agensium/pool/command"
	"github.com/agensium/agensium/supervisor/config"
)

// commands looks for the programs of [[command]].
func (r *run) commands(list []config.Command) {
	if len(list) == 0 {
		return
	}
	var missing []string
	for _, c := range list {
		spec := command.Spec{Task: c.Task, Run: c.Run, Directory: c.Directory, Environment: c.Environment}
		if _, err := spec.Program(); err != nil {
			missing = append(missing, err.Error())
		}
	}
	if len(missing) > 0 {
		r.add(failed("commands", "Install the program, or mend run, directory and PATH of its [[command]]: until then its tasks fail.", "%s", strings.Join(missing, "\n")))
		return
	}
	r.add(ok("commands", "%d, each with its program", len(list)))
}
