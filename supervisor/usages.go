package supervisor

import (
	"time"

	"github.com/agensium/agensium/pool/child"
)

const (
	usageStep = 1 << 20         // bytes by which resident memory changes before a child is read anew
	usageAge  = 5 * time.Second // a shared page that a child writes to becomes its own without a change: so old a reading is never used
)

// usages reads what children take. A full reading walks the page tables of a child, and costs processor time just when a task wants it;
// of a child in which nothing happens the last one is taken.
type usages struct {
	glance func(pid int) (rss int64, cpu time.Duration, err error)
	read   func(pid int) (child.Usage, error)
	last   map[int]reading // by pid
}

type reading struct {
	usage child.Usage
	rss   int64 // at a glance
	at    time.Time
}

func newUsages() usages {
	return usages{glance: child.GlanceOf, read: child.UsageOf, last: map[int]reading{}}
}

func (u usages) of(pid int, now time.Time) (child.Usage, error) {
	rss, cpu, err := u.glance(pid)
	if err != nil {
		return child.Usage{}, err
	}
	r, known := u.last[pid]
	if !known || max(rss-r.rss, r.rss-rss) >= usageStep || now.Sub(r.at) >= usageAge {
		if r.usage, err = u.read(pid); err != nil {
			return child.Usage{}, err
		}
		r.rss, r.at = rss, now
		u.last[pid] = r
	}
	r.usage.CPU = cpu
	return r.usage, nil
}
