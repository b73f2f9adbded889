package supervisor

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
)

// taskLines writes what happens to each task, in the words that Celery's users know and search for. Arguments and
// return values appear only if asked for.
type taskLines struct {
	log     hclog.Logger
	args    func() bool // arguments are logged
	results func() bool // return values are logged
}

func title(t *celery.Task) string { return "Task " + t.DisplayName() + "[" + t.ID + "]" }

func (l *taskLines) received(t *celery.Task) {
	if !l.log.IsInfo() {
		return
	}
	line := title(t) + " received"
	if l.args() {
		l.log.Info(line, "args", t.ArgsRepr, "kwargs", t.KwargsRepr)
		return
	}
	l.log.Info(line)
}

func (l *taskLines) parked(t *celery.Task, until time.Time, why string) {
	if !l.log.IsInfo() {
		return
	}
	if why == parkedForETA {
		l.log.Info(title(t)+" received", "eta", until.Format(time.RFC3339Nano), "next", "parked in Redis until then")
		return
	}
	l.log.Info(title(t)+" received", "limit", why, "turn", until.Format(time.RFC3339Nano), "next", "parked in Redis until then")
}

func (l *taskLines) lost(t *celery.Task, loss *celery.Loss) {
	fields := []any{"cause", loss.Cause, "pid", loss.PID}
	if loss.Signal > 0 {
		fields = append(fields, "signal", signalName(loss.Signal))
	} else if loss.ExitCode >= 0 {
		fields = append(fields, "exitcode", loss.ExitCode)
	}
	if loss.Limit > 0 {
		fields = append(fields, "limit", loss.Limit)
	}
	if loss.Memory > 0 {
		fields = append(fields, "rss", fmt.Sprintf("%dMiB", loss.Memory>>20))
	}
	if loss.Cause == celery.LossShutdown || loss.Cause == celery.LossTerminated {
		l.log.Info(title(t)+" killed", fields...)
		return
	}
	if loss.Detail != "" {
		fields = append(fields, "detail", loss.Detail)
	}
	l.log.Error(title(t)+" lost its child", fields...)
}

func (l *taskLines) ended(f *pool.Finished, s broker.Settlement) {
	t, o := f.Job.Task, f.Outcome
	switch {
	case f.Job.Verdict != nil:
		l.decided(f, f.Job.Verdict, s)
	case o.State == celery.StateSuccess:
		if !l.log.IsInfo() {
			return
		}
		line := title(t) + " succeeded in " + strconv.FormatFloat(o.Runtime.Seconds(), 'f', -1, 64) + "s"
		if l.results() {
			line += ": " + o.ReturnRepr
		}
		l.log.Info(line)
	case o.State == celery.StateFailure && o.Expected:
		l.log.Info(title(t)+" raised expected: "+o.Exception, "took", o.Runtime)
	case o.Refused != "":
		l.log.Error(title(t)+" cannot be run: "+o.Exception, "cause", o.Refused, "next", "dead letter")
	case o.State == celery.StateFailure:
		l.log.Error(title(t)+" raised unexpected: "+o.Exception, "took", o.Runtime, "traceback", strings.TrimSpace(o.Traceback))
	case o.State == celery.StateRetry:
		l.log.Info(title(t)+" retry: "+o.Exception, "took", o.Runtime)
	case o.State == celery.StateRevoked:
		l.log.Info(title(t)+" terminated", "took", o.Runtime)
	case o.State == celery.StateIgnored:
		l.log.Info(title(t)+" ignored", "took", o.Runtime)
	case o.State == celery.StateRejected:
		l.log.Info(title(t)+" rejected: "+o.Exception, "next", s.Action)
	case o.State == celery.StateLost:
		l.log.Warn(title(t)+" did not end", "deaths", t.Deliveries+boolInt(s.Died), "next", s.Action)
	}
}

func (l *taskLines) decided(f *pool.Finished, v *celery.Verdict, s broker.Settlement) {
	t := f.Job.Task
	if v.State == celery.StateRevoked {
		l.log.Info("Discarding revoked task: "+t.DisplayName()+"["+t.ID+"]", "cause", v.Cause)
		return
	}
	text := v.Type
	if len(v.Args) > 0 {
		text = fmt.Sprintf("%s(%v)", v.Type, v.Args[0])
	}
	if f.Outcome.State == celery.StateRetry {
		l.log.Info(title(t)+" retry: "+text, "cause", v.Cause)
		return
	}
	l.log.Error(title(t)+" failed: "+text, "cause", v.Cause, "next", s.Action)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
