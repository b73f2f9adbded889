package supervisor

import (
	"sync"
	"time"

	"github.com/agensium/agensium/supervisor/autoscale"
	"github.com/agensium/agensium/supervisor/config"
)

// estimates is what the scaling decision learns from each task. It is written by the slots' goroutines and read by the scaler.
type estimates struct {
	mu       sync.Mutex
	services *autoscale.Services
	gain     *autoscale.Gain
	children *autoscale.Histogram // private memory of a child, bytes
	queues   map[string]*queueEstimate
}

type queueEstimate struct {
	mix      *autoscale.Mix
	arrivals *autoscale.Arrivals
	claimed  int64
	busy     int
}

func newEstimates() *estimates {
	return &estimates{
		services: autoscale.NewServices(), gain: autoscale.NewGain(), children: autoscale.NewHistogram(10 * time.Minute),
		queues: map[string]*queueEstimate{},
	}
}

// queue returns the estimates of a queue. The caller holds mu.
func (e *estimates) queue(name string) *queueEstimate {
	q := e.queues[name]
	if q == nil {
		q = &queueEstimate{mix: autoscale.NewMix(), arrivals: autoscale.NewArrivals(0)}
		e.queues[name] = q
	}
	return q
}

func (e *estimates) claimed(queue, task string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queue(queue)
	q.claimed++
	q.busy++
	q.mix.Claimed(task)
}

func (e *estimates) ended(queue, task string, took time.Duration, busy int, succeeded bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.queue(queue).busy--
	if took <= 0 {
		return
	}
	e.services.Observe(now, task, took)
	if succeeded {
		e.gain.Observe(now, task, float64(busy), took)
	}
}

// ours is what this node does for the queues.
func (e *estimates) ours(names []string) map[string]queueSays {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make(map[string]queueSays, len(names))
	for _, name := range names {
		q := e.queue(name)
		all[name] = queueSays{Busy: q.busy, Claimed: q.claimed}
	}
	return all
}

// sample fills in what is known of the queues; others is what other nodes do for one. due is nil if they could not be read, or nobody
// looked.
func (e *estimates) sample(s *autoscale.Sample, names []string, due map[string]int, minima map[string]config.QueueScaling, others func(string) queueSays, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range names {
		q, also := e.queue(name), others(name)
		if due != nil {
			q.arrivals.Observe(now, due[name], q.claimed+also.Claimed)
		}
		s.Queues = append(s.Queues, autoscale.Queue{
			Name: name, Due: due[name], Oldest: q.arrivals.Oldest(now), Arrivals: q.arrivals.Rate(), Service: q.mix.Service(e.services), Busy: q.busy + also.Busy,
			Min: minima[name].Min, Kept: max(0, minima[name].Min-q.busy),
		})
	}
	s.Useful = e.gain.Useful()
}

// kept is how many slots are kept for queues that do not use them now.
func (e *estimates) kept(names []string, minima map[string]config.QueueScaling) (n int) {
	if len(minima) == 0 {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range names {
		n += max(0, minima[name].Min-e.queue(name).busy)
	}
	return n
}

// child notes how much memory a child had for itself at the most when it ended a task.
func (e *estimates) child(private int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.children.Observe(time.Now(), float64(private))
}

func (e *estimates) childMemory(largest, guess int64) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return autoscale.ChildMemory(e.children, largest, guess)
}
