package supervisor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
)

var (
	late      = celery.TaskOptions{AcksLate: true, AcksOnFailureOrTimeout: true}
	rejecting = celery.TaskOptions{AcksLate: true, AcksOnFailureOrTimeout: true, RejectOnWorkerLost: true}
	ackEarly  = celery.TaskOptions{AcksOnFailureOrTimeout: true}
	strict    = celery.TaskOptions{AcksLate: true}
)

func jobWith(deaths int, v *celery.Verdict) pool.Job {
	return pool.Job{
		Task:     &celery.Task{ID: "id", Name: "shop.pay", Deliveries: deaths, Redelivered: deaths > 0},
		Delivery: &celery.Delivery{Queue: "celery"}, Verdict: v,
	}
}

// The table of protocol notes D.1, with the dead letters that Celery does not have.
func TestSettlement(t *testing.T) {
	lost := func(cause celery.LossCause) celery.Outcome {
		return celery.Outcome{State: celery.StateLost, Loss: &celery.Loss{Cause: cause, ExitCode: -1}}
	}
	givenUp := celery.Outcome{State: celery.StateFailure, Loss: &celery.Loss{Cause: celery.LossHardLimit, ExitCode: -1}}
	tests := map[string]struct {
		options celery.TaskOptions
		job     pool.Job
		outcome celery.Outcome
		action  broker.Action
		died    bool
		dead    string
		check   bool // a stored SUCCESS is looked for
	}{
		"success":                      {late, jobWith(0, nil), celery.Outcome{State: celery.StateSuccess}, broker.Ack, false, "", false},
		"success of a second delivery": {late, jobWith(1, nil), celery.Outcome{State: celery.StateSuccess}, broker.Ack, false, "", true},
		"failure":                      {late, jobWith(0, nil), celery.Outcome{State: celery.StateFailure}, broker.Ack, false, "", false},
		"failure, not acknowledged":    {strict, jobWith(0, nil), celery.Outcome{State: celery.StateFailure}, broker.Ack, false, "", false},
		"retry":                        {late, jobWith(0, nil), celery.Outcome{State: celery.StateRetry}, broker.Ack, false, "", true},
		"ignored":                      {late, jobWith(0, nil), celery.Outcome{State: celery.StateIgnored}, broker.Ack, false, "", false},
		"rejected":                     {late, jobWith(0, nil), celery.Outcome{State: celery.StateRejected}, broker.Ack, false, "", false},
		"rejected with requeue":        {late, jobWith(0, nil), celery.Outcome{State: celery.StateRejected, Requeue: true}, broker.Requeue, false, "", false},
		"rejected with requeue, early": {ackEarly, jobWith(0, nil), celery.Outcome{State: celery.StateRejected, Requeue: true}, broker.Ack, false, "", false},
		"undecodable for the child":    {late, jobWith(0, nil), celery.Outcome{State: celery.StateFailure, Refused: "undecodable"}, broker.Bury, false, "undecodable", false},
		"unknown task":                 {ackEarly, jobWith(0, nil), celery.Outcome{State: celery.StateFailure, Refused: "unknown_task"}, broker.Bury, false, "unknown_task", false},
		"lost":                         {rejecting, jobWith(0, nil), lost(celery.LossSignal), broker.Requeue, true, "", false},
		"lost for the last time":       {rejecting, jobWith(4, nil), lost(celery.LossSignal), broker.Bury, false, "signal", true},
		"out of memory once too often": {rejecting, jobWith(4, nil), lost(celery.LossOOM), broker.Bury, false, "oom", true},
		"killed at the end of a drain": {late, jobWith(0, nil), lost(celery.LossShutdown), broker.PutBack, false, "", false},
		"the same, acknowledged early": {ackEarly, jobWith(0, nil), lost(celery.LossShutdown), broker.Requeue, true, "", false},
		"never begun, early":           {ackEarly, jobWith(0, nil), lost(celery.LossUnbegun), broker.PutBack, false, "", false},
		"verdict: lost":                {late, jobWith(0, workerLost(&celery.Loss{Cause: celery.LossSignal})), celery.Outcome{State: celery.StateFailure}, broker.Ack, false, "", false},
		"verdict: retry":               {late, jobWith(0, &celery.Verdict{State: celery.StateRetry}), celery.Outcome{State: celery.StateRetry}, broker.Ack, false, "", true},
		"verdict: retry, no retries":   {late, jobWith(0, &celery.Verdict{State: celery.StateRetry}), celery.Outcome{State: celery.StateFailure}, broker.Ack, false, "", false},
		"verdict: retry not sent":      {rejecting, jobWith(0, &celery.Verdict{State: celery.StateRetry}), celery.Outcome{State: celery.StateRejected, Requeue: true}, broker.Requeue, true, "", false},
		"verdict: not recorded":        {late, jobWith(0, workerLost(&celery.Loss{Cause: celery.LossSignal})), lost(celery.LossSignal), broker.Requeue, true, "", false},
		"the same at its last death":   {late, jobWith(4, workerLost(&celery.Loss{Cause: celery.LossSignal})), lost(celery.LossSignal), broker.Bury, false, "signal", true},
		"drained, not recorded":        {ackEarly, jobWith(0, failed("WorkerLostError", "", causeEarlyAck, "x")), lost(celery.LossShutdown), broker.Requeue, true, "", false},
		"revoked, not recorded":        {late, jobWith(0, revoked("terminated")), lost(celery.LossTerminated), broker.Requeue, true, "", false},
		"refused by the result store":  {late, jobWith(0, revoked("expired")), celery.Outcome{State: celery.StateRejected, Requeue: true}, broker.Requeue, true, "", false},
		"verdict: hard limit":          {late, jobWith(0, failed("TimeLimitExceeded", "", "hard_limit", 1)), celery.Outcome{State: celery.StateFailure}, broker.Ack, false, "", false},
		"hard limit of a handler":      {late, jobWith(0, nil), givenUp, broker.Ack, false, "", false},
		"the same, not acknowledged":   {strict, jobWith(0, nil), givenUp, broker.Requeue, true, "", false},
		"hard limit, not acknowledged": {strict, jobWith(0, failed("TimeLimitExceeded", "", "hard_limit", 1)), celery.Outcome{State: celery.StateFailure}, broker.Requeue, true, "", false},
		"hard limit alone, not acknowledged": {celery.TaskOptions{AcksLate: true, AcksOnFailureOrTimeout: true, AcksOnTimeout: new(bool)},
			jobWith(0, failed("TimeLimitExceeded", "", "hard_limit", 1)), celery.Outcome{State: celery.StateFailure}, broker.Requeue, true, "", false},
		"hard limit for the last time":  {strict, jobWith(4, failed("TimeLimitExceeded", "", "hard_limit", 1)), celery.Outcome{State: celery.StateFailure}, broker.Bury, false, "hard_limit", true},
		"verdict: expired":              {late, jobWith(0, revoked("expired")), celery.Outcome{State: celery.StateRevoked}, broker.Ack, false, "", false},
		"verdict: too many deaths":      {late, jobWith(5, failed("WorkerLostError", "", causeMaxDeliveries, "x")), celery.Outcome{State: celery.StateFailure}, broker.Bury, false, causeMaxDeliveries, true},
		"verdict: lost after early ack": {ackEarly, jobWith(1, failed("WorkerLostError", "", causeEarlyAck, "x")), celery.Outcome{State: celery.StateFailure}, broker.Bury, false, causeEarlyAck, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.outcome.Results = []celery.Result{{Key: "k", Document: []byte("d")}}
			got := rules{maxDeliveries: 5}.settlement(pool.Finished{Job: test.job, Outcome: test.outcome}, test.options)
			dead := ""
			if got.Dead != nil {
				dead = got.Dead.Cause
			}
			if got.Action != test.action || got.Died != test.died || dead != test.dead || (got.CheckSuccess || got.CheckEnd) != test.check {
				t.Errorf("%s, died %t, dead letter %q, check %t", got.Action, got.Died, dead, got.CheckSuccess || got.CheckEnd)
			}
			if diff := cmp.Diff(test.outcome.Results, got.Results); diff != "" {
				t.Error("results are dropped:", diff)
			}
		})
	}
}

func TestVerdictOfALostChild(t *testing.T) {
	crash := &celery.Loss{Cause: celery.LossSignal, Signal: 9, Detail: "Worker exited prematurely: signal 9 (SIGKILL) Job: 1."}
	tests := map[string]struct {
		options celery.TaskOptions
		deaths  int
		loss    *celery.Loss
		want    string // exception and cause; empty: the message goes back
	}{
		"early":                      {ackEarly, 0, crash, "WorkerLostError signal"},
		"late":                       {late, 0, crash, "WorkerLostError signal"},
		"late, rejecting":            {rejecting, 0, crash, ""},
		"rejecting, the fourth time": {rejecting, 3, crash, ""},
		"rejecting, the fifth time":  {rejecting, 4, crash, "WorkerLostError max_deliveries"},
		"retrying":                   {celery.TaskOptions{RetryOnWorkerLost: true}, 0, crash, "RETRY WorkerLostError signal"},
		"retrying and rejecting":     {celery.TaskOptions{RetryOnWorkerLost: true, AcksLate: true, RejectOnWorkerLost: true}, 4, crash, "RETRY WorkerLostError signal"},
		"hard limit":                 {rejecting, 0, &celery.Loss{Cause: celery.LossHardLimit, Limit: time.Second}, "TimeLimitExceeded hard_limit"},
		"terminated":                 {rejecting, 0, &celery.Loss{Cause: celery.LossTerminated}, "TaskRevokedError terminated"},
		"drained":                    {rejecting, 0, &celery.Loss{Cause: celery.LossShutdown}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if v := (rules{maxDeliveries: 5}).verdict(jobWith(test.deaths, nil), test.loss, test.options); v != nil {
				got = v.Type + " " + v.Cause
				if v.State == celery.StateRetry {
					got = "RETRY " + got
				}
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestAdmission(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	options := map[string]celery.TaskOptions{"late": late, "early": ackEarly}
	g := gate{
		known:   func(name string) (celery.TaskOptions, bool) { o, ok := options[name]; return o, ok },
		revoked: func(t *celery.Task) bool { return t.ID == "revoked" },
		rules:   func(string) rules { return rules{maxDeliveries: 5} },
	}
	tests := map[string]struct {
		task celery.Task
		want string // "run", "park", or state and cause
	}{
		"due":                         {celery.Task{Name: "late"}, "run"},
		"unknown":                     {celery.Task{Name: "nobody"}, "run"}, // the executor knows best
		"later":                       {celery.Task{Name: "late", ETA: now.Add(time.Minute)}, "park"},
		"its time has come":           {celery.Task{Name: "late", ETA: now}, "run"},
		"expired":                     {celery.Task{Name: "late", Expires: now.Add(-time.Second)}, "REVOKED expired"},
		"expired before its time":     {celery.Task{Name: "late", Expires: now.Add(-time.Second), ETA: now.Add(time.Minute)}, "REVOKED expired"},
		"expires now":                 {celery.Task{Name: "late", Expires: now}, "run"},
		"revoked":                     {celery.Task{Name: "late", ID: "revoked", ETA: now.Add(time.Minute)}, "REVOKED revoked"},
		"died once":                   {celery.Task{Name: "late", Deliveries: 1}, "run"},
		"died once, early":            {celery.Task{Name: "early", Deliveries: 1}, "FAILURE lost_after_early_ack"},
		"died too often":              {celery.Task{Name: "late", Deliveries: 5}, "FAILURE max_deliveries"},
		"redelivered by somebody":     {celery.Task{Name: "early", Redelivered: true}, "run"},
		"died too often, and expired": {celery.Task{Name: "late", Deliveries: 5, Expires: now.Add(-time.Second)}, "REVOKED expired"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := g.admit(&test.task, now)
			got := "run"
			switch {
			case a.park:
				got = "park"
			case a.verdict != nil:
				got = string(a.verdict.State) + " " + a.verdict.Cause
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
