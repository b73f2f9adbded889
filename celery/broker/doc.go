// Package broker holds the messages of Celery's Redis queues that this process works on.
//
// A message is claimed by moving it, in one Redis command, from its queue into a claim key: a list of at most one
// element whose name says who holds it and where it came from. It leaves the claim key when it is settled: the result is
// stored first, then the claim key is deleted or its message goes elsewhere. At no instant is a message in no key.
//
// The supervisor calls it: one [Broker.Next] for each idle slot, which settles what the slot finished and waits for
// the next delivery. A message is only claimed for a slot that waits. Inside, one goroutine (engine.go) owns all claims and
// writes one pipeline at a time; every other loop has a file of its own:
//
//	engine.go   rounds: settlements and claims gathered into one pipeline
//	claim.go    which keys are asked, and who gets what came
//	shares.go   whose turn it is where the slots are divided between queues
//	doubt.go    claim keys that a cut connection may have filled
//	lifecycle.go  incarnations, changes of the registry, the end
//	holdings.go  claims on their way from one incarnation to the next
//	server.go   whether it is still the same Redis that answers
//	wait.go     BLMOVE, one connection for each queue key that is empty
//	results.go  results that must be stored before the claim is touched
//	place.go    instants at which tests kill the process
//	repeat.go   the shape of the loops that follow
//	lease.go    the key that says that we live
//	recover.go  what the dead held goes back to the queues
//	inherit.go  what the dead held and no stock worker may run again goes to slots of ours
//	park.go     tasks with a future ETA, kept in Redis until they are due
//	unacked.go  what dead Celery workers left behind
//
// It never decodes a task's arguments, never decides what an outcome means, and never takes a message for which no slot is free.
package broker
