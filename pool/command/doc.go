// Package command is the executor of tasks that are programs: a process for each task, in a process group of its own.
// The arguments go in as JSON on stdin, or into the places that the program's argument list has for them; they
// never pass a shell and never choose the program. The result comes out on stdout, stderr is log.
//
// The pool calls it. What becomes of a task goes to the Recorder that Go handlers use too.
package command
