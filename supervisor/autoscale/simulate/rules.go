package simulate

import "time"

// celeryRule is Celery's --autoscale=max,min (celery/worker/autoscale.py): as many processes as messages are reserved, asked at
// every message and every 30 s; fewer only when none was received for 30 s. It reserves four times max.
type celeryRule struct {
	max, min  int
	size      int
	lastTaken time.Duration
	lastUp    time.Duration
	seen      int64
}

func (*celeryRule) OnArrival() {}

func (r *celeryRule) Decide(v View) (int, time.Duration) {
	const keepalive = 30 * time.Second
	reserved := min(v.Due+v.Busy, 4*r.max)
	if seen := v.Claimed + int64(reserved-v.Busy); seen > r.seen {
		r.seen, r.lastTaken = seen, v.Now
	}
	r.size = v.Busy + v.Idle + v.Starting
	if n := min(reserved, r.max); n > r.size {
		r.size, r.lastUp = n, v.Now
	} else if n := max(reserved, r.min); n < r.size && v.Now-max(r.lastTaken, r.lastUp) > keepalive {
		r.size = n
	}
	return r.size, keepalive
}

// kedaRule is the usual scaler for Redis lists: one replica for five waiting messages, a look every 30 s, and down by the highest
// wish of 300 s. A replica runs one task here, ends it before it goes, and starts as fast as everybody else's slot.
type kedaRule struct {
	max, min int
	wishes   []int
}

func (r *kedaRule) Decide(v View) (int, time.Duration) {
	const poll, window = 30 * time.Second, 300 * time.Second
	r.wishes = append(r.wishes, min(max((v.Due+4)/5, r.min), r.max))
	if keep := int(window / poll); len(r.wishes) > keep {
		r.wishes = r.wishes[len(r.wishes)-keep:]
	}
	highest := 0
	for _, w := range r.wishes {
		highest = max(highest, w)
	}
	return highest, poll
}

// stepRule adds one slot when the wait is over half the SLO, and takes one away when it is under a tenth and one is idle.
type stepRule struct {
	max, min int
	size     int
	slo      time.Duration
}

func (r *stepRule) Decide(v View) (int, time.Duration) {
	switch {
	case v.Wait > r.slo/2 && v.Due > 0:
		r.size++
	case v.Wait < r.slo/10 && v.Idle > 0:
		r.size--
	}
	r.size = min(max(r.size, r.min), r.max)
	return r.size, 10 * time.Second
}

// fixedRule has always the same number.
type fixedRule int

func (r fixedRule) Decide(View) (int, time.Duration) { return int(r), time.Hour }
