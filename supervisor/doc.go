// Package supervisor joins the broker and the pool: it starts what is needed in order, admits deliveries, decides how
// each ends, drains, and tells what it does. A program of the user's own calls [Run] just as cmd/agensium does.
//
// It is the only package that knows both Redis and executors. What is a decision lives in a pure function of its own
// (admit, settle, banner), what is a loop in a file of its own.
package supervisor
