package broker

import "time"

// namesakes are the nodes of our name that were there before us, by incarnation.
type namesakes map[string]*namesake

type namesake struct {
	seen time.Time // first
	told bool      // that it lives
}

// namesake says that a node of our name is there, which we cannot always know at once. On this host one that runs holds its lock. Of any other
// all that is known is its lease, which stays for a while when it was killed, or will soon end when the node is being replaced; if it is there after the longest
// time that a lease has, it was renewed. The younger of the two says it, once.
func (r *recovery) namesake(id string, n *node, runs bool, lease time.Duration) {
	if n.Node != r.b.opt.Node || !n.Started.Before(r.b.lease.start) {
		return
	}
	k, known := r.kin[id]
	if !known {
		k = &namesake{seen: time.Now()}
		r.kin[id] = k
	}
	of := []any{"node", n.Node, "host", n.Host, "pid", n.PID, "since", n.Started.Format(time.DateTime)}
	switch {
	case k.told:
	case runs:
		k.told = true
		r.b.log.Warn("another node of this name runs on this host, and remote control, events and status take the two for one",
			append(of, "next", "both go on. If this one is to take its place it has to be stopped, and drains; else give one of them another name: -n, node")...)
	case time.Since(k.seen) > r.b.opt.IdleLease:
		k.told = true
		r.b.log.Warn("another node of this name runs, and remote control, events and status take the two for one",
			append(of, "next", "both go on. Give one of them another name: -n, node")...)
	case !known:
		r.b.log.Info("another node of this name was here, and may be yet",
			append(of, "lease", lease.Round(time.Second), "next", "if this one takes its place it is expected to drain, and if it was killed to be forgotten; if both are to stay give one another name: -n, node")...)
	}
}
