// Package child owns what is common to all child processes: starting one in a process group of its own, the lifeline
// that has the kernel kill it when this process is gone, its exit status, killing it with everything that it started,
// and what /proc says about it. Executors call it, and whoever wants to know how much memory a child takes.
//
// It never speaks to a child and knows nothing of Python, tasks and pools. What an operating system lacks is left out
// there: the functions then say so or do the nearest thing.
package child
