package broker

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/redisconn"
)

// The values of Options.QueueOrder, named as kombu's queue_order_strategy.
const (
	OrderRoundRobin = "round_robin" // a queue that gave a message goes to the end
	OrderPriority   = "priority"    // always in the order of Options.Queues
	OrderSorted     = "sorted"      // always in alphabetical order
)

// Options say which queues are consumed, where, and how patiently. Zero values mean the defaults.
type Options struct {
	Target  *redisconn.Target // where the queues are
	Results *redisconn.Target // where results are stored; nil: same as Target
	Node    string            // node name, for the registry and for dead letters
	Version string            // of the program, for the registry

	// StateDir holds a lock file for each living incarnation, so that a restarted node knows at once that its
	// predecessor is dead. Empty: recovery always waits for the lease.
	StateDir string

	Queues          []string
	QueueOrder      string // default OrderRoundRobin
	KeyPrefix       string // kombu's global_keyprefix
	Separator       string // kombu's sep; default "\x06\x16"
	PrioritySteps   []int  // kombu's priority_steps; default 0, 3, 6, 9
	UnackedKey      string // kombu's unacked_key, without prefix; default "unacked"
	UnackedIndexKey string // default "unacked_index"
	UnackedMutexKey string // default "unacked_mutex"

	VisibilityTimeout time.Duration // kombu's; what stock workers left is restored after it; default 1 h
	ResultExpires     time.Duration // 0: results never expire

	MaxBlocked     int           // queue keys to wait on at once; default 8
	BlockTimeout   time.Duration // of one BLMOVE; default 4m50s
	RestInterval   time.Duration // between looks at empty keys beyond MaxBlocked; default 5 s
	MaxDeliveries  int           // deliveries ended by a death before a message is buried; default 5
	MaxDeadLetters int           // default 10,000
	DeadLetterAge  time.Duration // default 30 days

	BusyLease  time.Duration // lease while claims are held; renewed at a third; default 30 s
	IdleLease  time.Duration // lease while only waiting; renewed at a third; default 15 min
	LookEvery  time.Duration // for the dead when alone, for due parked tasks of others and for stock Celery's unacked; default 5 min
	PeersEvery time.Duration // for the dead with peers in the registry; default 30 s
	Quarantine time.Duration // how long a command of a cut connection may still take effect; default 2 min

	severedSoon time.Duration // within which Redis has usually seen that the connections of one that was killed have ended; 3 s
	unblockFor  time.Duration // how long Redis is asked to end a wait whose command it has not got yet, or whose reply is on its way; 250 ms

	DialTimeout time.Duration // default 10 s
	IOTimeout   time.Duration // of one read or write; default 30 s

	// Bindings tells the ways to a queue that is consumed; nil: none are written. It is asked at the start, for each queue that is added, and
	// when Redis may have forgotten them.
	Bindings func(queue string) []Binding

	// Judge decides about a message whose holder died, before it goes back to its queue. The zero Settlement means the rule:
	// back to the consuming end with the delivery count raised, or buried when that is over MaxDeliveries. It may answer Inherit.
	Judge func(queue string, raw []byte) Settlement

	Log hclog.Logger
}

func (o *Options) defaults() {
	str := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	num := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	dur := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	if o.Results == nil {
		o.Results = o.Target
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if len(o.PrioritySteps) == 0 {
		o.PrioritySteps = []int{0, 3, 6, 9}
	}
	str(&o.QueueOrder, OrderRoundRobin)
	str(&o.Separator, "\x06\x16")
	str(&o.UnackedKey, "unacked")
	str(&o.UnackedIndexKey, "unacked_index")
	str(&o.UnackedMutexKey, "unacked_mutex")
	num(&o.MaxBlocked, 8)
	num(&o.MaxDeliveries, 5)
	num(&o.MaxDeadLetters, 10_000)
	dur(&o.VisibilityTimeout, time.Hour)
	dur(&o.BlockTimeout, 4*time.Minute+50*time.Second)
	dur(&o.RestInterval, 5*time.Second)
	dur(&o.DeadLetterAge, 30*24*time.Hour)
	dur(&o.BusyLease, 30*time.Second)
	dur(&o.IdleLease, 15*time.Minute)
	dur(&o.LookEvery, 5*time.Minute)
	dur(&o.PeersEvery, 30*time.Second)
	dur(&o.Quarantine, 2*time.Minute)
	dur(&o.severedSoon, 3*time.Second)
	dur(&o.unblockFor, 250*time.Millisecond)
	dur(&o.DialTimeout, 10*time.Second)
	dur(&o.IOTimeout, 30*time.Second)
}

func (o *Options) validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Target == nil {
		bad("no Redis target")
	}
	if len(o.Queues) == 0 {
		bad("no queues to consume")
	}
	if slices.Contains(o.Queues, "") {
		bad("a queue has an empty name")
	}
	if o.QueueOrder != OrderRoundRobin && o.QueueOrder != OrderPriority && o.QueueOrder != OrderSorted {
		bad("queue order %q is none of round_robin, priority, sorted", o.QueueOrder)
	}
	if !slices.Contains(o.PrioritySteps, 0) {
		bad("priority steps %v lack 0, where messages without a priority lie", o.PrioritySteps)
	}
	if o.ResultExpires < 0 || (o.ResultExpires > 0 && o.ResultExpires < time.Second) {
		bad("results cannot expire after %s: Redis counts whole seconds", o.ResultExpires)
	}
	if o.BusyLease > o.IdleLease {
		bad("the busy lease (%s) is longer than the idle one (%s)", o.BusyLease, o.IdleLease)
	}
	return errors.Join(problems...)
}

// Action says what becomes of a claimed message.
type Action string

// The actions. Each comes after the settlement's results are stored.
const (
	Keep    Action = ""         // nothing yet: only the results are stored
	Ack     Action = "ack"      // it is done with
	Requeue Action = "requeue"  // to the back of its queue, marked redelivered (Celery's Reject with requeue)
	PutBack Action = "put_back" // to the consuming end, unchanged; does not count as a delivery
	Park    Action = "park"     // to the parked tasks until Settlement.Until
	Bury    Action = "bury"     // to the dead letters

	// Inherit is an answer of Judge alone: the message goes to a slot of ours as a delivery with its count raised. It never lies in
	// its queue, where a stock worker would run it again.
	Inherit Action = "inherit"

	redeliver Action = "redeliver" // to the consuming end, marked redelivered with the count raised
)

// Settlement says how a delivery ends.
type Settlement struct {
	Results      []celery.Result // stored and published first
	Action       Action
	Until        time.Time   // Park: when the task is due
	Message      []byte      // Park: what is parked instead of the message; nil: the message as it is
	Dead         *DeadLetter // Bury: what is to be known of it; the broker fills in id, time, node, queue and message
	Died         bool        // Requeue: whoever ran it died; the delivery count is raised
	CheckSuccess bool        // never overwrite a stored SUCCESS: asked for when the delivery is a redelivery (protocol notes C.2)
	CheckEnd     bool        // nor any end of the task that came after the delivery: asked for when the message of a retry is out already
}

// Finished is a delivery with its settlement.
type Finished struct {
	Delivery   *celery.Delivery
	Settlement Settlement
}
