// Package backend records what becomes of a task that runs in this process: it sends callbacks, the next step of a
// chain and retries, keeps the parts of chords and sends their bodies, calls errbacks, and writes the documents that
// Celery's own Redis backend would write (protocol notes C and D).
//
// The executors of Go handlers and commands call it, once for each end of a task. Documents that nobody has to find
// before the acknowledgement are handed back in the Outcome, for the broker to write along with it; the others are
// written here, first. It never claims or acknowledges a message.
package backend
