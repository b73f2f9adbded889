package control

// table holds the commands by name; Celery's older names stand for the same ones (celery/worker/control.py Panel).
var table = map[string]*command{
	"ping":          {open: true, run: ping},
	"clock":         {open: true, run: clock},
	"hello":         {required: []string{"from_node"}, optional: []string{"revoked"}, open: true, run: hello},
	"active":        active,
	"dump_active":   active,
	"reserved":      reserved,
	"dump_reserved": reserved,
	"scheduled":     scheduled,
	"dump_schedule": scheduled,
	"query_task":    {required: []string{"ids"}, open: true, slow: true, run: queryTask},
	"revoked":       listRevoked,
	"dump_revoked":  listRevoked,
	"registered":    registered,
	"dump_tasks":    registered,
	"stats":         {open: true, run: stats},
	"conf":          conf,
	"dump_conf":     conf,
	"report":        {slow: true, run: report},
	"active_queues": {run: activeQueues},
	"memsample":     {open: true, run: unavailable("memsample: tasks run in processes of their own, see stats")},
	"memdump":       {open: true, run: unavailable("memdump: tasks run in processes of their own, see stats")},
	"objgraph":      {open: true, run: unavailable("objgraph: this worker is not a Python process")},

	"revoke":                    {required: []string{"task_id"}, open: true, slow: true, run: revoke},
	"terminate":                 {required: []string{"signal", "task_id"}, open: true, slow: true, run: terminate},
	"revoke_by_stamped_headers": {required: []string{"headers"}, open: true, slow: true, run: revokeStamped},
	"rate_limit":                {required: []string{"task_name", "rate_limit"}, open: true, run: rateLimit},
	"time_limit":                {open: true, run: timeLimit},

	"pool_grow":       {open: true, run: poolGrow},
	"pool_shrink":     {open: true, run: poolShrink},
	"pool_restart":    {open: true, slow: true, run: poolRestart},
	"autoscale":       {optional: []string{"max", "min"}, run: autoscale},
	"shutdown":        {open: true, run: shutdown},
	"add_consumer":    {required: []string{"queue"}, open: true, slow: true, run: addConsumer},
	"cancel_consumer": {required: []string{"queue"}, open: true, slow: true, run: cancelConsumer},

	"enable_events":  {run: enableEvents},
	"disable_events": {run: disableEvents},
	"heartbeat":      {run: heartbeat},
	// Elections are held among the workers that gossip. We do not, and so do not vote.
	"election": {required: []string{"id", "topic"}, open: true, run: nothing},
}

var (
	active      = &command{open: true, run: listActive}
	reserved    = &command{open: true, run: listReserved}
	scheduled   = &command{open: true, slow: true, run: listScheduled}
	listRevoked = &command{open: true, run: revokedIDs}
	registered  = &command{open: true, slow: true, run: listRegistered}
	conf        = &command{open: true, slow: true, run: showConf}
)
