package autoscale

import "time"

// Sample is what the supervisor sees at one moment. Numbers of queues are those of the whole fleet; slots, memory, processors
// and connections are those of this node.
type Sample struct {
	// Unknown says that the queues were not counted: they could not be read, or every slot that is allowed is busy and nobody had to
	// ask. The target then stays, but the bounds still hold.
	Unknown bool
	Queues  []Queue
	Slots   Slots

	// StartTime is how long an executor takes until it can run a task.
	StartTime time.Duration

	Memory Memory
	CPU    CPU

	// Connections is how many slots the connection budget of Redis allows; 0 means that there is no budget.
	Connections int

	// Useful is the number of slots above which more of them finish no more tasks, from Gain.Useful; 0 means not known.
	Useful int

	// Self and Peers are the living nodes that consume the same queues, with or without this one among them. No peers: this
	// node is the fleet.
	Self  string
	Peers []Peer
}

// Queue is one queue as it stands.
type Queue struct {
	Name     string
	Due      int           // messages that wait and may run now, over all priority steps
	Oldest   time.Duration // how long the oldest of them has waited; 0 if unknown
	Arrivals float64       // messages a second
	Service  time.Duration // expected run time of one message; 0 if unknown
	Busy     int           // slots of all nodes that run its tasks
	Min      int           // slots that are kept for it on this node
	Kept     int           // those of them that stand empty
}

// Slots are the slots of this node by state. A leaving slot is in none of them.
type Slots struct {
	Idle, Busy, Starting int
	Owed                 int // messages that were claimed while there was no slot at all, and now need one
}

func (s Slots) size() int { return s.Idle + s.Busy + s.Starting }

// Memory is what the node may use and what its children take. A Limit of 0 means that nothing is known; then memory bounds
// nothing.
type Memory struct {
	Limit    int64   // bytes, of the cgroup or the machine
	Used     int64   // bytes that cannot be reclaimed, children included
	Children int64   // bytes of Used that belong to the children alone (private, not shared)
	Child    int64   // bytes to reckon with for one child: the 95th percentile, or a guess before the first task has run
	Some     float64 // percent of the last 10 s in which some task stood still for memory (PSI some avg10)
	Full     float64 // percent of the last 10 s in which all of them did (PSI full avg10)
}

// CPU is what the node may use and what its tasks take.
type CPU struct {
	Cores   float64 // processors, or the quota if that is less; 0 if unknown
	PerTask float64 // processors that one running task uses when it gets what it wants (0.05 for one that waits for a network)
}
