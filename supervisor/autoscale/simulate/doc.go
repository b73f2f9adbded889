// Package simulate plays loads against scaling rules on a clock of its own: messages arrive, executors take time to start,
// tasks take time and memory, samples get lost, clocks jump. It is seeded, so that a run can be repeated, and it draws the
// table in which this program's rule stands beside Celery's, KEDA's and others (make bench-autoscale).
//
// It owns no real process and no real time; only tests and the table use it.
package simulate
