package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

// Contents is what lies in Redis at one moment. Parked tasks and dead letters are those of all nodes.
type Contents struct {
	Due    map[string]int // messages that may run now, by the queues that are consumed
	Parked int64
	Dead   int64
}

// Contents is [Broker.Depths] with what lies beside the queues, for two commands more.
func (b *Broker) Contents(ctx context.Context) (Contents, error) {
	pipe := b.aux.Pipeline()
	parked, dead := pipe.ZCard(ctx, b.eng.ring.parked()), pipe.ZCard(ctx, b.eng.ring.deadIndex())
	b.tally.commands.add(purposeSample, 2)
	due, err := b.countIn(ctx, pipe)
	if err != nil {
		return Contents{}, err
	}
	return Contents{Due: due, Parked: parked.Val(), Dead: dead.Val()}, nil
}

// Backlogged tells in one command whether any message waits in the queues consumed now. It returns when Redis and the engine have
// answered, or ctx has ended.
func (b *Broker) Backlogged(ctx context.Context) (bool, error) {
	keys, err := b.keys(ctx)
	if err != nil || len(keys) == 0 {
		return false, err
	}
	lists := make([]string, len(keys))
	for i, k := range keys {
		lists[i] = k.list
	}
	b.tally.commands.add(purposeSample, 1)
	n, err := b.aux.Exists(ctx, lists...).Result() // a list that is empty does not exist
	if err != nil {
		return false, fmt.Errorf("look whether messages wait: %w", err)
	}
	return n > 0, nil
}

// Node is a living node as the registry and its lease tell, or a dead one that nobody has cleared away yet.
type Node struct {
	ID      string        `json:"id"` // of the incarnation
	Node    string        `json:"node"`
	Host    string        `json:"host"`
	PID     int           `json:"pid"`
	Version string        `json:"version"`
	Started time.Time     `json:"started"`
	Queues  []string      `json:"queues"`
	Lease   time.Duration `json:"lease"` // what is left of it; 0: dead
}

// Nodes reads the registry in one command and one for each node. It is the broker's own connection that asks.
func (b *Broker) Nodes(ctx context.Context) ([]Node, error) {
	return nodes(ctx, b.aux, b.eng.ring, &b.tally.commands)
}

// ReadNodes does the same without a broker: prefix and separator are kombu's global_keyprefix and sep.
func ReadNodes(ctx context.Context, t *redisconn.Target, prefix, separator string) ([]Node, error) {
	client := t.Client(redisconn.ClientOptions{Name: "agensium-status"})
	defer client.Close()
	return nodes(ctx, client, &keyring{prefix: prefix, separator: separator}, new(counters))
}

func nodes(ctx context.Context, client *redis.Client, ring *keyring, count *counters) ([]Node, error) {
	count.add(purposeRegistry, 1)
	entries, err := client.HGetAll(ctx, ring.nodes()).Result()
	if err != nil {
		return nil, fmt.Errorf("read the registry of nodes: %w", err)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	pipe := client.Pipeline()
	var found []Node
	var leases []*redis.DurationCmd
	for id, entry := range entries {
		var n node
		if json.Unmarshal([]byte(entry), &n) != nil {
			continue // recovery says so in the log
		}
		found = append(found, Node{ID: id, Node: n.Node, Host: n.Host, PID: n.PID, Version: n.Version, Started: n.Started, Queues: queuesOf(ring, n.Keys)})
		leases = append(leases, pipe.PTTL(ctx, ring.lease(id)))
	}
	count.add(purposeRegistry, len(leases))
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read the leases of %d nodes: %w", len(leases), err)
	}
	for i, lease := range leases {
		found[i].Lease = max(lease.Val(), 0)
	}
	slices.SortFunc(found, func(a, b Node) int {
		if c := strings.Compare(a.Node, b.Node); c != 0 {
			return c
		}
		return a.Started.Compare(b.Started)
	})
	return found, nil
}

func queuesOf(ring *keyring, lists []string) []string {
	queues := make([]string, 0, len(lists))
	for _, list := range lists {
		queues = append(queues, ring.queueOf(list))
	}
	slices.Sort(queues)
	return slices.Compact(queues)
}
