package admin

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

type kind string

const (
	counter       kind = "counter"
	gauge         kind = "gauge"
	histogramKind kind = "histogram"
)

// definition is one metric. The table in METRICS.md is made of these.
type definition struct {
	name    string // without the prefix
	kind    kind
	labels  []string
	values  string // of the labels, in words
	help    string
	sampled bool // asked for when scraped
}

const prefix = "agensium_"

var definitions []*definition

func define(name string, k kind, help string, labels ...string) *definition {
	d := &definition{name: name, kind: k, help: help, labels: labels, sampled: true}
	definitions = append(definitions, d)
	return d
}

// counted marks a metric that is counted as things happen, instead of asked for.
func (d *definition) counted() *definition {
	d.sampled = false
	return d
}

func (d *definition) of(values string) *definition {
	d.values = values
	return d
}

func (d *definition) options() prometheus.Opts {
	return prometheus.Opts{Name: prefix + d.name, Help: d.help}
}

func (d *definition) desc() *prometheus.Desc {
	return prometheus.NewDesc(prefix+d.name, d.help, d.labels, nil)
}

// Names are the names of all metrics of agensium's own, as Prometheus shows them: histograms with their three series.
func Names() []string {
	var names []string
	for _, d := range definitions {
		if d.kind == histogramKind {
			for _, series := range []string{"_bucket", "_sum", "_count"} {
				names = append(names, prefix+d.name+series)
			}
			continue
		}
		names = append(names, prefix+d.name)
	}
	slices.Sort(names)
	return names
}

// Table is the documentation of the metrics, in Markdown.
func Table() string {
	var b strings.Builder
	b.WriteString("| Metric | Kind | Labels | What it tells |\n|---|---|---|---|\n")
	for _, d := range definitions {
		labels := ""
		if len(d.labels) > 0 {
			labels = "`" + strings.Join(d.labels, "`, `") + "`"
		}
		if d.values != "" {
			labels += ": " + d.values
		}
		b.WriteString("| `" + prefix + d.name + "` | " + string(d.kind) + " | " + labels + " | " + d.help + " |\n")
	}
	return b.String()
}

// The metrics, in the order of the table.
var (
	tasksTotal = define("tasks_total", counter, "Tasks that ended, by how they ended.", "task", "outcome").counted().
			of("at most 200 names, then `(other)`; success, failure, retry, ignored, rejected, revoked, expired, lost")
	taskRun = define("task_run_seconds", histogramKind, "Run time of tasks' bodies.", "task").counted().
		of("as above")
	taskWait = define("task_wait_seconds", histogramKind,
		"Time from when a task could have run until a slot took it: since its ETA if it had one, else as reckoned from the looks at its queue, since messages do not say when they were sent. Fills only while somebody scrapes.",
		"queue").counted().of("at most 100 names, then `(other)`")
	tasksRunning = define("tasks_running", gauge, "Tasks that run now.")
	redeliveries = define("redeliveries_total", counter, "Tasks begun that had been delivered before.")
	messages     = define("messages_total", counter, "What became of messages.", "event").
			of("claimed, settled, taken (by another node after our lease ended), forgotten (gone from Redis though nobody may have taken it: FLUSHALL, eviction, a restart without data), put_back, recovered (from dead nodes), parked (until their ETA), woken, restored (from stock Celery's unacked), buried (dead letters)")

	queueDepth  = define("queue_depth", gauge, "Messages that wait and may run now, all priorities. Read when scraped, at most every 15 s.", "queue")
	queueOldest = define("queue_oldest_seconds", gauge, "About how long the oldest of them has waited, reckoned from the looks at the queue.", "queue")
	parkedTasks = define("parked_tasks", gauge, "Tasks of all nodes that wait for their ETA.")
	deadLetters = define("dead_letters", gauge, "Dead letters of all nodes.")

	slots           = define("slots", gauge, "Slots by state.", "state").of("starting, idle, busy, leaving")
	slotsTarget     = define("slots_target", gauge, "How many slots there should be.")
	slotsMax        = define("slots_max", gauge, "The most that the settings allow.")
	slotsBound      = define("slots_bound", gauge, "1 for what holds the target below what the load asks for, 0 for what does not.", "bound")
	handlersOverrun = define("handlers_overrun", gauge, "Go handlers that were given up and still run; each holds a slot.")
	hostsWanted     = define("hosts_wanted", gauge, "Nodes like this one that the load asks for; 0: not known.")

	childStart     = define("child_start_seconds", histogramKind, "How long children took to become ready.").counted()
	childLeaves    = define("child_leaves_total", counter, "Children that were closed, by reason.", "reason").counted().of("scale_down, max_tasks, max_memory, max_age, reload, crashed, hard_limit, terminated, shutdown, memory_pressure")
	childrenMemory = define("children_memory_bytes", gauge, "Memory of all children, shared pages counted once.")
	childLargest   = define("child_memory_largest_bytes", gauge, "Resident memory of the largest child.")

	connected     = define("broker_connected", gauge, "1 while Redis answers.")
	condition     = define("broker_condition", gauge, "1 for what keeps Redis from working; nothing while it works.", "condition").of("unreachable, loading, readonly, oom, misconf, auth, noperm, maxclients, quota, busy, cluster, tls, wrong_db, not_redis, other")
	reconnects    = define("broker_reconnects_total", counter, "Times that Redis was usable again after it was not.")
	connections   = define("redis_connections", gauge, "Open connections of the broker.")
	dials         = define("redis_dials_total", counter, "Connections that were opened.")
	commands      = define("redis_commands_total", counter, "Redis commands sent, by purpose.", "purpose").of("claim, wait, result, settle, lease, registry, recover, park, unacked, dead, sample, limit")
	claimsWaiting = define("claims_waiting", gauge, "Free slots that wait for a message.")
	claimsHeld    = define("claims_held", gauge, "Messages that are held.")
	claimsDoubt   = define("claims_in_doubt", gauge, "Claim keys that a cut connection may still fill.")
	leaseLeft     = define("lease_remaining_seconds", gauge, "What is left of the lease.")
	leaseLapses   = define("lease_lapses_total", counter, "Times that the lease was not renewed in time.")

	ready      = define("ready", gauge, "1 while consuming, as /readyz.")
	phase      = define("phase", gauge, "1 for the phase of life the node is in.", "phase").of("starting, consuming, resting, draining")
	draining   = define("drain_remaining_seconds", gauge, "What running tasks have left of a drain; 0: not draining.")
	stalls     = define("stalls_total", counter, "Times that messages waited, a slot was free and nothing was claimed.")
	reloads    = define("reloads_total", counter, "Reloads of the settings.", "result").of("ok, refused")
	reloadOK   = define("reload_last_ok", gauge, "0 if the last reload was refused and older settings are in place.")
	reloadTime = define("reload_last_success_timestamp_seconds", gauge, "When the settings in place were taken.")
	logQuieted = define("log_lines_quieted_total", counter, "Log lines left out because they said the same again.")
	buildInfo  = define("build_info", gauge, "1.", "version")
)
