package autoscale

import (
	"math"
	"time"
)

// terms are the parts of the wish, kept apart for the words of the reason.
type terms struct {
	waiting int
	queues  int           // queues with waiting messages
	service time.Duration // mean over what waits
	left    time.Duration // least time left of the SLO
	clear   float64       // slots to start what waits in time
	load    float64       // slots that arrivals fill within the time for a start
	stand   float64       // slots that arrivals fill in the long run
	strict  bool          // nothing is to wait
	keep    float64       // slots to keep up with arrivals
	reserve float64       // slots for what may come while another slot starts
	held    float64       // busy slots that will not be free in time
	late    float64       // part of the SLO that the oldest message has waited, 0 to 1
}

// margin is the part of the SLO that the wish reckons with; the rest is for what it cannot know: which messages are long, and
// when the next sample comes.
const margin = 0.9

// behind is the part of the arrivals that the wish keeps up with. For the rest a queue builds up that waits about half of the SLO
// and then keeps itself level: its length is a better measure of what is missing than any estimate of a rate.
const behind = 0.5

func usable(slo time.Duration) time.Duration { return time.Duration(margin * float64(slo)) }

// wishFor reckons how many slots the load needs in the whole fleet. It never falls when more waits, when it has waited longer,
// when more arrives or when tasks take longer.
func wishFor(policy Policy, sample Sample) terms {
	t := terms{strict: policy.SLO <= 0}
	var work time.Duration
	for _, q := range sample.Queues {
		f, left := need(policy.SLO, q, sample.StartTime)
		t.clear += f * float64(q.Due)
		rate := max(0, q.Arrivals)
		load := rate * min(q.Service, max(usable(policy.SLO), sample.StartTime)).Seconds()
		t.load += load
		if rate > 0 {
			t.stand += (rate + oneMore) * q.Service.Seconds()
		}
		t.keep += behind * load
		t.reserve += f * math.Sqrt(rate*lead(sample.StartTime, left))
		t.held += stay(left, q.Service) * float64(q.Busy)
		if q.Due > 0 {
			t.late = max(t.late, lateness(policy.SLO, q.Oldest))
			if t.queues == 0 || left < t.left {
				t.left = left
			}
			t.queues++
			t.waiting += q.Due
			work += time.Duration(q.Due) * q.Service
		}
	}
	if t.waiting > 0 {
		t.service = work / time.Duration(t.waiting)
	}
	return t
}

// need is the part of a slot that one waiting message of the queue needs, and the time that is left for its start. A new slot
// helps nothing before it has started, and what is late is not worth more slots than a tenth of the SLO would be.
func need(slo time.Duration, q Queue, start time.Duration) (float64, time.Duration) {
	left := usable(slo) - q.Oldest - start
	left = max(left, slo/10, start)
	if slo <= 0 || q.Service <= 0 || left <= q.Service {
		return 1, left // also when nothing is known of its run time
	}
	return q.Service.Seconds() / left.Seconds(), left
}

// lead is the time, in seconds, for which arrivals must be met out of a reserve: a start, weighted by how much of the time that
// is left it takes. Where a slot can be started long before a message is late, no slot needs to stand by.
func lead(start, left time.Duration) float64 {
	if start <= 0 || left <= 0 {
		return 0
	}
	return start.Seconds() * min(1, start.Seconds()/left.Seconds())
}

// stay is the part of the busy slots that will still be busy when the time is over.
func stay(left, service time.Duration) float64 {
	if service <= 0 {
		return 1
	}
	return max(0, 1-left.Seconds()/service.Seconds())
}

func (t terms) slots() float64 { return t.clear + t.keep + t.reserve + t.held }

// whole is the wish in slots. While nothing is late it is rounded down: what is missing shows in the queue soon and raises the
// next wish. The longer the oldest message has waited, the more is rounded up, little at first. What runs or waits always has
// a slot.
func (t terms) whole(busy int) int {
	n := int(min(math.Floor(t.slots()+nearly+t.late*t.late*(1-2*nearly)), math.MaxInt32))
	if n < 1 && (t.waiting > 0 || busy > 0) {
		return 1
	}
	return n
}

// nearly keeps the errors of floating point from costing or saving a slot.
const nearly = 1e-6

// lateness is the part of the time for a start that has passed.
func lateness(slo, oldest time.Duration) float64 {
	if oldest >= usable(slo) {
		return 1
	}
	return oldest.Seconds() / usable(slo).Seconds()
}

// steady is the number of slots below which a queue would build up until there are more again. The target does not fall below it, so
// that it stands still under a load that stands still. What is less than a seventh of a slot may be the error of the estimate: where
// messages may wait for a while it does not count, where nothing is to wait it is on the safe side.
func (t terms) steady() int {
	slots := t.load - 0.15
	if t.strict {
		slots = t.stand
	}
	return int(min(math.Ceil(slots), math.MaxInt32))
}

// oneMore is the error of a rate: it counts whole messages, for most of a minute.
const oneMore = 1.0 / 50

// filled is how many slots arrivals fill, for the words of the reason.
func (t terms) filled() float64 {
	if t.strict {
		return t.stand
	}
	return t.load
}
