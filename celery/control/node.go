package control

import (
	"context"
)

// Node is what the supervisor can tell and do, by area. A command whose area is nil answers that it is not available.
// The methods are called by several goroutines at once and should return at once unless they take a context.
type Node struct {
	Custom Custom
}

// Custom runs the commands that the application registered itself (celery.worker.control control_command and inspect_command). They
// go before ours of the same name, as they do in Celery.
type Custom interface {
	Has(method string) bool
	// Call returns the command's value as JSON. A [Refused] error is shown to the client as it stands.
	Call(ctx context.Context, method string, args Arguments) (any, error)
}
