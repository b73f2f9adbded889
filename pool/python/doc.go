// Package python owns the Python processes of an application: one zygote that imported it once, and the children that
// are forked from it and run its tasks, each standing behind a [pool.Executor]. The supervisor starts an
// [Application] for each generation of the user's code and gives it to the pool as its factory.
//
// The Python side is embedded (py/) and goes to the interpreter through a pipe: nothing is written to disk. What
// passes between the processes is in frame.go. The package never speaks to Redis: a child hands over the documents of
// its results, and what has to be stored before a task ends goes through [Options].Store.
package python
