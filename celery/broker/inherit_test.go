package broker

import (
	"context"
	"fmt"
	"testing"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

func inherits(o *Options) {
	o.Judge = func(string, []byte) Settlement { return Settlement{Action: Inherit} }
}

func TestAnInheritedMessageNeverLiesInItsQueue(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	bury(t, c, "gone", 0, "celery", message("early", 0))
	bury(t, c, "gone too", 0, "not ours", message("strange", 0))
	b := start(t, r.URL(0), inherits)
	celerytest.Eventually(t, "a look at the dead", func() bool { return b.Status().Commands["recover"] > 2 })
	if n := len(claimKeys(t, c)); n != 2 {
		t.Fatalf("%d claim keys while no slot waits", n)
	}
	for range 2 {
		d := next(t, b, nil)
		task, err := celery.Decode(d.Raw, nil)
		if err != nil || !task.Redelivered || task.Deliveries != 1 || task.ID == "strange" && d.Queue != "not ours" {
			t.Errorf("%+v %v, of %s", task, err, d.Queue)
		}
		if n := len(list(t, c, "celery")) + len(list(t, c, "not ours")); n != 0 {
			t.Errorf("%d lie in the queues", n)
		}
		if err := b.Settle(bounded(t), *acked(d)); err != nil {
			t.Error(err)
		}
	}
	closeBroker(t, b)
	if keys := claimKeys(t, c); len(keys) != 0 || b.Status().Recovered != 2 {
		t.Errorf("%q left, %d recovered", keys, b.Status().Recovered)
	}
}

func TestTwoHeirsInheritOnce(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	for i := range 8 {
		bury(t, c, "gone", i, "celery", message(fmt.Sprint(i), 0))
	}
	a := start(t, r.URL(0), inherits)
	b := start(t, r.URL(0), inherits)
	for id, ds := range consume(t, 8, a, b) {
		if len(ds) != 1 {
			t.Errorf("%s came %d times", id, len(ds))
		}
	}
	if n := a.Status().Recovered + b.Status().Recovered; n != 8 {
		t.Errorf("%d inherited", n)
	}
}

func TestWhatAnHeirDoesNotSettleIsInheritedFromIt(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	bury(t, c, "gone", 0, "celery", message("early", 0))
	for name, end := range map[string]func(*Broker){
		"closed": func(b *Broker) { closeBroker(t, b) },
		"dead":   func(b *Broker) { b.crash(); c.Del(bounded(t), "agensium:lease:"+b.Status().Incarnation) },
	} {
		b := start(t, r.URL(0), inherits)
		next(t, b, nil)
		end(b)
		if n := len(list(t, c, "celery")); n != 0 || len(claimKeys(t, c)) != 1 {
			t.Errorf("%s: %d in the queue, claims %q", name, n, claimKeys(t, c))
		}
	}
	b := start(t, r.URL(0), inherits)
	d := next(t, b, nil)
	if task, _ := celery.Decode(d.Raw, nil); task.ID != "early" || task.Deliveries != 3 {
		t.Errorf("%+v", task)
	}
}

func TestAnInheritanceWhoseReplyIsCutIsDelivered(t *testing.T) {
	for _, when := range []celerytest.When{celerytest.BeforeRequest, celerytest.BeforeReply} {
		r := celerytest.StartRedis(t)
		c := r.Client(0)
		p := celerytest.StartProxy(t, r.Addr())
		b := start(t, p.URL(0), inherits)
		celerytest.Eventually(t, "rest", func() bool { return b.Status().Connected })
		bury(t, c, "gone", 0, "celery", message("early", 0))
		b.Notice()
		celerytest.Eventually(t, "a look at the dead", func() bool { return b.Status().Commands["recover"] > 2 })
		done := p.CutAt(1, when)
		d := next(t, b, nil)
		<-done
		if task, _ := celery.Decode(d.Raw, nil); task.ID != "early" || task.Deliveries != 1 {
			t.Errorf("%s: %+v", when, task)
		}
		if len(list(t, c, "celery")) != 0 {
			t.Errorf("%s: it lies in the queue", when)
		}
	}
}

func TestAnInheritedMessageWhoseSlotWentAwayWaitsForTheNext(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	bury(t, c, "gone", 0, "celery", message("early", 0))
	for range 5 { // the slot may go before, while or after it is inherited
		b := start(t, r.URL(0), inherits)
		ctx, cancel := context.WithCancel(bounded(t))
		got := make(chan *celery.Delivery, 1)
		go func() { d, _ := b.Next(ctx, nil); got <- d }()
		celerytest.Eventually(t, "the slot", func() bool { return b.Status().Waiting > 0 || b.Status().Recovered > 0 })
		cancel()
		if d := <-got; d == nil {
			next(t, b, nil)
		}
		closeBroker(t, b)
		if len(list(t, c, "celery")) != 0 || len(claimKeys(t, c)) != 1 {
			t.Fatalf("in the queue %q, claims %q", list(t, c, "celery"), claimKeys(t, c))
		}
	}
}
