package simulate

import "time"

// View is what a rule may know of a node and of the queue.
type View struct {
	Now      time.Duration
	Due      int           // messages in the queue
	Wait     time.Duration // how long the last message waited for its start, or the oldest one so far
	Claimed  int64         // messages taken by all nodes since the start
	Busy     int           // of this node
	Idle     int
	Starting int
	Node     int
	Peers    []Peer // all nodes, this one among them
	Private  int64  // memory of this node's children
	Largest  int64  // of the largest of them
	Ended    []Ended
}

// Peer is what nodes tell each other.
type Peer struct{ Busy, Size int }

// Ended is a task of this node that has ended since its rule looked last.
type Ended struct {
	Took   time.Duration
	Failed bool
	Memory int64
	Busy   float64 // mean of the busy slots at its start and at its end
}

// Rule decides for one node. It is asked every so often, and at the events it wants.
type Rule interface {
	// Decide returns the target and when to ask again if nothing happens.
	Decide(View) (target int, next time.Duration)
}

// Events that a rule may want to be asked at, besides the time.
type (
	onArrival interface{ OnArrival() }       // each message that a free slot or prefetch takes from the queue
	onTaken   interface{ OnLastIdleTaken() } // the last idle slot was taken, or a slot became ready
)

// Options are what the world is like.
type Options struct {
	Start   time.Duration                          // of an executor
	Initial int                                    // slots of each node that are ready at the beginning
	Limit   int64                                  // memory of a node; 0 means no end
	Base    int64                                  // memory of a node without tasks
	Child   int64                                  // memory of a child without a task
	Lost    func(now time.Duration, node int) bool // a look that does not happen
}

// Result is what a run came to.
type Result struct {
	Hours   float64 // executor-hours, starting ones included
	Work    float64 // hours of tasks
	Tasks   int
	Started int // tasks that started
	InTime  int // within the SLO
	Kills   int // children that the kernel took for memory
	Most    int // slots at the highest
	Left    int // tasks that had not ended

	Drained time.Duration // when the last task ended
}
