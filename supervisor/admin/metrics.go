package admin

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Outcome is how a task ended, as the metrics' label says it.
type Outcome int

// The outcomes.
const (
	Success Outcome = iota
	Failure
	Retry
	Ignored
	Rejected
	Revoked
	Expired
	Lost // its child died, and the message went back
	outcomes
)

var outcomeNames = [outcomes]string{"success", "failure", "retry", "ignored", "rejected", "revoked", "expired", "lost"}

func (o Outcome) String() string { return outcomeNames[o] }

// Names of tasks and queues come from messages. Beyond so many of them they share one label.
const (
	maxTasks  = 200
	maxQueues = 100
	other     = "(other)"
)

// Metrics counts what happens, and asks for the rest when it is scraped.
type Metrics struct {
	registry *prometheus.Registry
	sample   func(context.Context) *Sample

	tasks  family[*taskMeter]
	queues family[prometheus.Observer]

	ended  *prometheus.CounterVec
	run    *prometheus.HistogramVec
	wait   *prometheus.HistogramVec
	starts prometheus.Histogram
	leaves *prometheus.CounterVec
}

// taskMeter holds the children of the vectors for one task, so that counting one costs a look-up and two additions.
type taskMeter struct {
	ended [outcomes]atomic.Pointer[prometheus.Counter]
	run   prometheus.Observer
}

// NewMetrics makes the metrics. sample is called at each scrape; nil when it has nothing to say.
func NewMetrics(sample func(context.Context) *Sample) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), sample: sample}
	m.ended = prometheus.NewCounterVec(prometheus.CounterOpts(tasksTotal.options()), tasksTotal.labels)
	m.run = prometheus.NewHistogramVec(histogram(taskRun, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 30, 60, 300, 900, 1800, 3600), taskRun.labels)
	m.wait = prometheus.NewHistogramVec(histogram(taskWait, 0.01, 0.1, 0.5, 1, 5, 15, 30, 60, 300, 900, 3600), taskWait.labels)
	m.starts = prometheus.NewHistogram(histogram(childStart, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60))
	m.leaves = prometheus.NewCounterVec(prometheus.CounterOpts(childLeaves.options()), childLeaves.labels)
	m.tasks = family[*taskMeter]{most: maxTasks, build: func(name string) *taskMeter {
		return &taskMeter{run: m.run.WithLabelValues(name)}
	}}
	m.queues = family[prometheus.Observer]{most: maxQueues, build: func(name string) prometheus.Observer {
		return m.wait.WithLabelValues(name)
	}}
	m.registry.MustRegister(m.ended, m.run, m.wait, m.starts, m.leaves, sampler{m},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func histogram(d *definition, buckets ...float64) prometheus.HistogramOpts {
	o := d.options()
	return prometheus.HistogramOpts{Name: o.Name, Help: o.Help, Buckets: buckets}
}

// Handler serves what Prometheus scrapes. It never waits longer for a sample than a scrape usually may take.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 3, Timeout: askTimeout + time.Second})
}

// Ended counts a task that has ended; run is the time of its body, 0 if it did not run. It is called for every task.
func (m *Metrics) Ended(task string, o Outcome, run time.Duration) {
	meter, name := m.tasks.get(task)
	counter := meter.ended[o].Load()
	if counter == nil { // most tasks only ever end in one or two ways
		c := m.ended.WithLabelValues(name, o.String())
		counter = &c
		meter.ended[o].Store(counter)
	}
	(*counter).Inc()
	if run > 0 {
		meter.run.Observe(run.Seconds())
	}
}

// Waited counts how long a message waited in its queue until a slot took it.
func (m *Metrics) Waited(queue string, d time.Duration) {
	observer, _ := m.queues.get(queue)
	observer.Observe(d.Seconds())
}

// ChildStarted counts a child that became ready.
func (m *Metrics) ChildStarted(took time.Duration) { m.starts.Observe(took.Seconds()) }

// ChildLeft counts a child that was closed. Reasons are the pool's words.
func (m *Metrics) ChildLeft(reason string) { m.leaves.WithLabelValues(reason).Inc() }

// family is a bounded set of things by name.
type family[T any] struct {
	most  int
	build func(name string) T
	known sync.Map // string → named[T]
	mu    sync.Mutex
	n     int
}

type named[T any] struct {
	name  string
	thing T
}

// get returns the thing of a name, and the name that it is shown under.
func (f *family[T]) get(name string) (T, string) {
	if v, ok := f.known.Load(name); ok {
		n := v.(named[T]) //nolint:forcetypeassert // nothing else is stored
		return n.thing, n.name
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n >= f.most {
		name = other
	}
	if v, ok := f.known.Load(name); ok {
		n := v.(named[T]) //nolint:forcetypeassert // nothing else is stored
		return n.thing, n.name
	}
	n := named[T]{name, f.build(name)}
	f.known.Store(name, n)
	f.n++
	return n.thing, n.name
}
