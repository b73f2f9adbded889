package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// recovery looks for incarnations whose lease has ended and gives back what they held.
type recovery struct {
	b    *Broker
	ring *keyring
	wake chan struct{}
	dead map[string]time.Time // since when we know
	kin  namesakes
	from time.Time // when the first look began that did not come to its end; zero: the last one did
}

func newRecovery(b *Broker, ring *keyring) *recovery {
	return &recovery{b: b, ring: ring, wake: make(chan struct{}, 1), dead: map[string]time.Time{}, kin: namesakes{}}
}

func (r *recovery) poke() { poke(r.wake) }

func (r *recovery) run(life context.Context) {
	r.b.repeat(life, r.wake, "look for dead nodes", func(life context.Context) (time.Duration, error) {
		if r.from.IsZero() {
			r.from = time.Now()
		}
		next, err := r.look(life)
		if err == nil {
			r.from = time.Time{}
		}
		return next, err
	})
}

// look goes through the registry once and returns when to look again.
func (r *recovery) look(life context.Context) (time.Duration, error) {
	if id, _, _ := r.b.lease.snapshot(); id == "" {
		return time.Hour, nil
	}
	r.b.tally.commands.add(purposeRegistry, 1)
	entries, err := r.b.aux.HGetAll(life, r.ring.nodes()).Result()
	if err != nil {
		return 0, fmt.Errorf("read the registry of nodes: %w", err)
	}
	next := r.b.opt.LookEvery
	for id, entry := range entries {
		if r.b.lease.mine(id) {
			continue
		}
		next = min(next, r.b.opt.PeersEvery)
		var n node
		if err := json.Unmarshal([]byte(entry), &n); err != nil {
			r.b.log.Error("registry entry is not readable", "id", id, "error", err, "next", "leave it")
			continue
		}
		left, err := r.visit(life, id, &n)
		if err != nil {
			return 0, err
		}
		if left > 0 && left <= r.b.opt.BusyLease {
			next = min(next, left)
		}
	}
	for id := range r.dead {
		if _, there := entries[id]; !there {
			delete(r.dead, id)
		}
	}
	for id := range r.kin {
		if _, there := entries[id]; !there {
			delete(r.kin, id)
		}
	}
	return next, nil
}

// visit looks whether an incarnation is dead, and if so gives back what it held. It returns when to look again: when its lease ends, if it lives.
func (r *recovery) visit(life context.Context, id string, n *node) (time.Duration, error) {
	path := r.lockOf(id, n)
	runs, killed := owner(path)
	if !killed {
		r.b.tally.commands.add(purposeRecover, 1)
		left, err := r.b.aux.PTTL(life, r.ring.lease(id)).Result()
		if err != nil {
			return 0, fmt.Errorf("look at the lease of %s: %w", n.Node, err)
		}
		if left != -2 { // in nanoseconds: no such key
			delete(r.dead, id)
			r.namesake(id, n, runs, left)
			return max(left, time.Millisecond), nil
		}
		if _, known := r.dead[id]; !known {
			// That the lease has ended proves a death only if it could have been renewed.
			if err := r.b.lease.prove(life, r.from); err != nil {
				return 0, fmt.Errorf("see whether Redis takes writes: %w", err)
			}
			if r.b.lease.lapsed(time.Now()) {
				return 0, nil // our own has ended, too: the engine sees to that first, and pokes
			}
		}
		if wait := r.b.known.back(n.Started, r.b.opt.BusyLease); wait > 0 {
			return wait, nil
		}
	}
	if _, known := r.dead[id]; !known {
		r.dead[id] = time.Now()
		r.b.log.Info("node is dead", "node", n.Node, "id", id, "pid", n.PID, "next", "give back what it held")
	}
	// Redis may not have noticed that its connections are gone, and still serve one of its BLMOVEs.
	over := time.Since(r.dead[id]) > r.b.opt.BlockTimeout+r.b.opt.Quarantine
	if !over && killed {
		var err error
		if over, err = r.severed(life, id, n, path); err != nil {
			return 0, err
		}
	}
	found, err := r.sweep(life, id, n)
	if over && err == nil && found > 0 {
		found, err = r.sweep(life, id, n) // what is to be inherited is still there
	}
	if err != nil {
		return 0, err
	}
	if !over || found > 0 {
		if !over && killed && time.Since(r.dead[id]) < r.b.opt.severedSoon {
			return time.Second, nil // Redis is about to see it
		}
		return 0, nil
	}
	r.b.tally.commands.add(purposeRegistry, 1)
	if err := r.b.aux.HDel(life, r.ring.nodes(), id).Err(); err != nil {
		return 0, fmt.Errorf("remove %s from the registry: %w", n.Node, err)
	}
	delete(r.dead, id)
	if path != "" {
		_ = os.Remove(path)
	}
	return 0, nil
}

// severed tells whether all that a killed incarnation had sent has been done, if it ever will be, and then has its last entry in n.
func (r *recovery) severed(life context.Context, id string, n *node, path string) (bool, error) {
	asked, gone := r.b.ties.severed(life, path, r.b.aux, r.b.commands)
	if asked {
		r.b.tally.commands.add(purposeRecover, 1)
	}
	if !gone {
		return false, nil
	}
	r.b.tally.commands.add(purposeRegistry, 1)
	entry, err := r.b.aux.HGet(life, r.ring.nodes(), id).Bytes()
	if errors.Is(err, redis.Nil) { // another node has removed it
		return true, nil
	}
	if err == nil {
		err = json.Unmarshal(entry, n)
	}
	if err != nil {
		return false, fmt.Errorf("read the registry entry of %s again: %w", n.Node, err)
	}
	return true, nil
}

// lockOf is the lock file of an incarnation that runs, or ran, under the same kernel as we do; else empty.
func (r *recovery) lockOf(id string, n *node) string {
	l := r.b.lease
	if r.b.opt.StateDir == "" || n.Host != l.host || n.BootID != l.bootID || l.bootID == "" {
		return ""
	}
	return lockPath(r.b.opt.StateDir, id)
}

const namesAtOnce = 512

// sweep gives back what lies in any claim key of an incarnation and returns how many there were.
func (r *recovery) sweep(life context.Context, id string, n *node) (int, error) {
	found := 0
	for _, list := range n.Keys {
		for from := 0; from < n.Tickets; from += namesAtOnce {
			names := make([]string, 0, min(namesAtOnce, n.Tickets))
			for t := from; t < min(from+namesAtOnce, n.Tickets); t++ {
				names = append(names, r.ring.claim(id, t, list))
			}
			k, err := r.sweepNames(life, n, list, names)
			found += k
			if err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

func (r *recovery) sweepNames(life context.Context, n *node, list string, names []string) (int, error) {
	r.b.tally.commands.add(purposeRecover, 1)
	there, err := r.b.aux.Exists(life, names...).Result()
	if err != nil || there == 0 {
		return 0, err
	}
	pipe := r.b.aux.Pipeline()
	reads := make([]*redis.StringCmd, len(names))
	for i, name := range names {
		reads[i] = pipe.LIndex(life, name, 0)
	}
	r.b.tally.commands.add(purposeRecover, len(names))
	if _, err := pipe.Exec(life); err != nil && !answered(err) {
		return 0, err
	}
	found := 0
	for i, read := range reads {
		raw, err := read.Bytes()
		if err == redis.Nil {
			continue
		}
		if err != nil {
			return found, err
		}
		found++
		if err := r.giveBack(life, n, list, names[i], raw); err != nil {
			return found, err
		}
	}
	return found, nil
}

// giveBack settles a message of a dead node, as the judge says or by the rule. The claim key decides who does it, should two try.
func (r *recovery) giveBack(life context.Context, n *node, list, name string, raw []byte) error {
	AtRecovering.Pass()
	queue := r.ring.queueOf(list)
	var s Settlement
	if r.b.opt.Judge != nil {
		s = r.b.opt.Judge(queue, raw)
	}
	if s.Action == Inherit {
		r.b.inbox.call(func() { r.b.eng.bequeath(queue, list, name, raw) })
		return nil
	}
	if s.Action == Keep {
		s.Action = redeliver
		if celery.Deliveries(raw) >= r.b.bounds.Load().MaxDeliveries {
			s.Action = Bury
			s.Dead = &DeadLetter{Cause: "max_deliveries", Detail: "whoever ran it died, each time: " + n.Node + " was the last"}
		}
	}
	c := &claim{Delivery: celery.Delivery{Queue: queue, Key: list, Claim: name, Raw: raw, Claimed: time.Now()}, name: name}
	w := works.Get().(*work)
	w.finished, w.settles, w.claim = Finished{Delivery: &c.Delivery, Settlement: s}, true, c
	c.ending = true
	_, err := r.b.await(life, w)
	return err
}
