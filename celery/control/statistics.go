package control

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Statistics are the node's numbers as `inspect stats` and Flower show them (celery/worker/worker.py
// WorkController.stats).
type Statistics struct {
	Total          map[string]int // tasks that were begun, by name
	PID            int            // of the process that signals go to
	Uptime         time.Duration
	MaxConcurrency int           // slots
	Processes      []Process     // what fills them now
	MaxTasks       int           // per child; 0: no limit
	SoftLimit      time.Duration // of the node; 0: none
	HardLimit      time.Duration
	Prefetch       int // messages that the node may hold at once: its slots
	Broker         Broker
	Autoscaler     *AutoscalerStatistics // nil: scaling was not asked for with --autoscale
}

// Process is a child of the pool.
type Process struct {
	PID   int
	Tasks int // that it was given
	Busy  bool
}

// Broker is where the messages come from, without the password.
type Broker struct {
	Host             string
	Port             int
	User             string
	Database         int
	TLS              bool
	ConnectTimeout   time.Duration
	TransportOptions map[string]any // without secrets
}

// AutoscalerStatistics are the bounds of scaling, and what it has to look after.
type AutoscalerStatistics struct {
	Max     int `json:"max"`
	Min     int `json:"min"`
	Current int `json:"current"` // slots
	Held    int `json:"qty"`     // tasks that the node holds
}

func (s Statistics) reply(clock int64) any {
	answer := map[string]any{
		"total":          s.total(),
		"pid":            s.PID,
		"clock":          strconv.FormatInt(clock, 10),
		"uptime":         int(s.Uptime.Round(time.Second).Seconds()),
		"pool":           s.pool(),
		"broker":         s.Broker.reply(),
		"prefetch_count": s.Prefetch,
		"rusage":         rusage(),
	}
	if s.Autoscaler != nil {
		answer["autoscaler"] = s.Autoscaler
	}
	return answer
}

func (s Statistics) total() map[string]int {
	if s.Total == nil {
		return map[string]int{}
	}
	return s.Total
}

// pool is what celery.concurrency.prefork tells of itself, down to its name: tools look for it.
func (s Statistics) pool() any {
	pids := make([]int, len(s.Processes))
	for i, p := range s.Processes {
		pids[i] = p.PID
	}
	var most any = "N/A"
	if s.MaxTasks > 0 {
		most = s.MaxTasks
	}
	return map[string]any{
		"implementation":           "celery.concurrency.prefork:TaskPool",
		"max-concurrency":          s.MaxConcurrency,
		"processes":                pids,
		"max-tasks-per-child":      most,
		"put-guarded-by-semaphore": false,
		"timeouts":                 [2]float64{s.SoftLimit.Seconds(), s.HardLimit.Seconds()},
		"writes":                   s.writes(),
	}
}

// writes says how the tasks were spread over the children (celery/concurrency/asynpool.py human_write_stats).
func (s Statistics) writes() any {
	total, busy := 0, 0
	for _, p := range s.Processes {
		total += p.Tasks
		if p.Busy {
			busy++
		}
	}
	shares, counts := make([]string, len(s.Processes)), make([]string, len(s.Processes))
	for i, p := range s.Processes {
		shares[i], counts[i] = share(float64(p.Tasks), total), strconv.Itoa(p.Tasks)
	}
	return map[string]any{
		"total":    total,
		"avg":      share(float64(total)/float64(max(len(s.Processes), 1)), total),
		"all":      strings.Join(shares, ", "),
		"raw":      strings.Join(counts, ", "),
		"strategy": "fair",
		"inqueues": map[string]int{"total": len(s.Processes), "active": busy},
	}
}

func share(part float64, total int) string {
	if total == 0 {
		return "0.00"
	}
	return fmt.Sprintf("%.2f", part/float64(total))
}

// reply is kombu's Connection.info without the password.
func (b Broker) reply() any {
	var user any
	if b.User != "" {
		user = b.User
	}
	options := b.TransportOptions
	if options == nil {
		options = map[string]any{}
	}
	return map[string]any{
		"hostname": b.Host, "userid": user, "virtual_host": strconv.Itoa(b.Database), "port": b.Port,
		"insist": false, "ssl": b.TLS, "transport": "redis", "connect_timeout": b.ConnectTimeout.Seconds(),
		"transport_options": options, "login_method": nil, "uri_prefix": nil, "heartbeat": 120.0,
		"failover_strategy": "round-robin", "alternates": []string{}, "credential_provider": nil,
	}
}

// rusage is what this process used so far.
func rusage() any {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return "N/A"
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Nano()) / 1e9 }
	return map[string]any{
		"utime": seconds(u.Utime), "stime": seconds(u.Stime), "maxrss": u.Maxrss, "ixrss": u.Ixrss, "idrss": u.Idrss,
		"isrss": u.Isrss, "minflt": u.Minflt, "majflt": u.Majflt, "nswap": u.Nswap, "inblock": u.Inblock,
		"oublock": u.Oublock, "msgsnd": u.Msgsnd, "msgrcv": u.Msgrcv, "nsignals": u.Nsignals, "nvcsw": u.Nvcsw,
		"nivcsw": u.Nivcsw,
	}
}
