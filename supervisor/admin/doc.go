// Package admin is the HTTP side of a node: health, metrics and status for platforms, monitors and people. The supervisor makes one
// server and one set of metrics, implements [Node] and fills [Sample].
//
// It reads, and changes nothing unless a token is configured and sent. It shows nothing secret: no arguments, no results, no
// passwords. It never talks to Redis or to children itself, and never decides about tasks.
package admin
