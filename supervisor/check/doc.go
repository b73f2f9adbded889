// Package check finds out whether a Redis and an application are fit for agensium, and says what to do about what is not.
//
// [Run] goes from the name of the host to the tasks of the application in steps, as `agensium check` shows them; [Fit] is the
// short form that a worker does at its start. Both write nothing but keys of their own, which they delete and which expire by
// themselves, and show no secret. They decide nothing: whoever calls them does.
package check
