// Command bench-autoscale prints the table in which this program's scaling rule stands beside others.
package main

import (
	"os"

	"github.com/agensium/agensium/supervisor/autoscale/simulate"
)

func main() { simulate.Print(os.Stdout, simulate.Table(1)) }
