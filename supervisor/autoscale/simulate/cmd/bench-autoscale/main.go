// Command bench-autoscale prints the table in which this program's scaling rule stands beside others, as Markdown. The seeds are
// fixed, so that it always prints the same.
package main

import (
	"flag"
	"os"

	"github.com/agensium/agensium/supervisor/autoscale/simulate"
)

func main() {
	options := simulate.DefaultTable()
	flag.DurationVar(&options.Start, "start", options.Start, "how long an executor takes to start")
	flag.DurationVar(&options.SLO, "slo", options.SLO, "how long a task may wait for its start")
	flag.IntVar(&options.Max, "max", options.Max, "executors at most")
	flag.Parse()
	simulate.Print(os.Stdout, simulate.Table(options))
}
