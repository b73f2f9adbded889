package broker

// Place names an instant at which a sudden end of the process is worst: something is done, and what belongs to it is not.
type Place string

// The places, of which a test kills the process at each.
const (
	AtRegistered Place = "registered" // lease and registry say that we live, and nothing is claimed
	AtMoved      Place = "moved"      // after a lapse claims have new names, and nobody has looked which are left
	AtClaimed    Place = "claimed"    // a message lies in its claim key, and no slot knows of it
	AtAdmitted   Place = "admitted"   // a slot has the task, and no executor
	AtEnded      Place = "ended"      // the task has ended, and nothing is written
	AtLost       Place = "lost"       // its executor has died, and what becomes of it is decided and not written
	AtStored     Place = "stored"     // the result is stored, and the claim is there
	AtSettled    Place = "settled"    // the claim is gone, and its slot does not know
	AtParking    Place = "parking"    // it lies where it waits for its time, and no timer is set
	AtWaking     Place = "waking"     // its time has come, and it is read but not moved
	AtWoken      Place = "woken"      // it is in its queue again
	AtBuried     Place = "buried"     // it is a dead letter
	AtRecovering Place = "recovering" // a message of a dead node is found and not moved
	AtRecovered  Place = "recovered"  // it is in its queue again, and the dead node in the registry
	AtInherited  Place = "inherited"  // it is ours, and no slot knows of it
	AtRestoring  Place = "restoring"  // kombu's lock is ours, and what a stock worker left is read but not moved
	AtPutBack    Place = "put back"   // a drain has put a running task back, and its executor runs
	AtLeaving    Place = "leaving"    // everything is settled, and registry and lease say that we live
)

// Places are all of them.
var Places = []Place{
	AtRegistered, AtMoved, AtClaimed, AtAdmitted, AtEnded, AtLost, AtStored, AtSettled, AtParking, AtWaking, AtWoken, AtBuried,
	AtRecovering, AtRecovered, AtInherited, AtRestoring, AtPutBack, AtLeaving,
}

// Passing is called at each place. Only tests set it, before anything runs.
var Passing func(Place)

// Pass says that the process is at this place.
func (p Place) Pass() {
	if Passing != nil {
		Passing(p)
	}
}
