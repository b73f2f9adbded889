package check

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

// facts are what a Redis says of itself. Managed ones keep much of it to themselves: what is missing here is not known.
type facts map[string]string

// asked are the settings that INFO does not show in all versions.
var asked = []string{"maxmemory-policy", "maxclients", "appendfsync", "save", "databases"}

// readFacts asks in one pipeline. That Redis refuses to tell one thing or the other is no error.
func readFacts(ctx context.Context, c *redis.Client) (facts, error) {
	f := facts{}
	pipe := c.Pipeline()
	ping := pipe.Ping(ctx)
	info := pipe.Info(ctx)
	var settings []*redis.MapStringStringCmd
	for _, name := range asked {
		settings = append(settings, pipe.ConfigGet(ctx, name))
	}
	_, err := pipe.Exec(ctx)
	if answered := ping.Val() != "" || redisconn.Classify(ping.Err()).Name == redisconn.NoPerm; !answered {
		return nil, err
	}
	for _, line := range strings.Split(info.Val(), "\n") {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			f[name] = value
		}
	}
	for _, s := range settings {
		for name, value := range s.Val() {
			f[name] = value
		}
	}
	if policy := f["maxmemory_policy"]; policy != "" {
		f["maxmemory-policy"] = policy
	}
	return f, nil
}

func (f facts) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(f[name], 10, 64)
	return n, err == nil
}

// product is who answers. Those that are compatible tell a Redis version, too.
func (f facts) product() string {
	for _, p := range [][2]string{{"valkey_version", "Valkey"}, {"dragonfly_version", "Dragonfly"}, {"upstash_version", "Upstash"}, {"garnet_version", "Garnet"}} {
		if v := f[p[0]]; v != "" {
			return p[1] + " " + v + " (as Redis " + f["redis_version"] + ")"
		}
	}
	if v := f["redis_version"]; v != "" {
		return "Redis " + v
	}
	return ""
}

// server judges version, mode and role.
func (f facts) server() Result {
	product := f.product()
	switch {
	case product == "":
		return warning("server", "Allow INFO to see version, memory and connections here.", "does not tell what it is")
	case f.tooOld():
		return failed("server", "Upgrade to Redis 6.2 or newer, or any Valkey.", "%s has no LMOVE: messages could not be claimed without a moment in which they can be lost", product)
	case f["cluster_enabled"] == "1":
		r := failed("server", "Celery cannot use cluster mode: use a Redis without it, or Sentinel.", "%s in cluster mode", product)
		r.Cause = redisconn.Cluster
		return r
	case f["role"] == "slave":
		r := failed("server", "Point the URL at the primary.", "%s, a read-only replica of %s:%s", product, f["master_host"], f["master_port"])
		r.Cause = redisconn.ReadOnly
		return r
	}
	return ok("server", "%s", product)
}

// tooOld tells whether LMOVE is missing: it came with Redis 6.2.
func (f facts) tooOld() bool {
	var major, minor int
	if n, _ := fmt.Sscanf(f["redis_version"], "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < 6 || major == 6 && minor < 2
}

// memory judges how full Redis is and what it does when it is full.
func (f facts) memory() Result {
	used, known := f.number("used_memory")
	limit, _ := f.number("maxmemory")
	text := "how much is used is not told"
	if known {
		text = amount(used) + " used"
		if known = limit > 0; known {
			text += fmt.Sprintf(" of %s (%d %%)", amount(limit), 100*used/limit)
		} else {
			text += ", no limit"
		}
	}
	policy := f["maxmemory-policy"]
	switch {
	case known && used > limit*9/10:
		return warning("memory", "Give Redis more memory or remove data: at its limit it refuses messages and results, or evicts them.", "%s, %s", text, orUnknown(policy))
	case policy == "":
		return warning("memory", "Make sure that maxmemory-policy is noeviction.", "%s; what it does when it is full is not told", text)
	case strings.HasPrefix(policy, "allkeys"):
		return warning("memory", "Set maxmemory-policy to noeviction.", "%s, %s: when it is full it throws away queues with the tasks in them", text, policy)
	case policy != "noeviction":
		return warning("memory", "Set maxmemory-policy to noeviction.", "%s, %s: when it is full it throws away what expires, results and leases", text, policy)
	}
	return ok("memory", "%s, noeviction", text)
}

func orUnknown(s string) string {
	if s == "" {
		return "policy not told"
	}
	return s
}

// persistence judges what a crash of Redis leaves.
func (f facts) persistence() Result {
	save, told := f["save"]
	switch {
	case f["aof_enabled"] == "1" && f["aof_last_write_status"] == "err":
		return failed("persistence", "Look at the log of Redis and at the free space of its disk.", "the last write to the append-only file went wrong")
	case f["aof_enabled"] == "1" && f["appendfsync"] == "no":
		return warning("persistence", "Set appendfsync everysec.", "append-only file, written to disk when the system likes (appendfsync no)")
	case f["aof_enabled"] == "1":
		return ok("persistence", "append-only file%s", strings.TrimRight(", "+f["appendfsync"], ", "))
	case f["rdb_last_bgsave_status"] == "err":
		return failed("persistence", "Look at the log of Redis and at the free space of its disk.", "the last snapshot went wrong")
	case told && save != "":
		return warning("persistence", "Set appendonly yes: then it is a second at most.", "snapshots only (save %s): a crash of Redis loses what came after the last one", save)
	case told:
		return warning("persistence", "Set appendonly yes if tasks are to survive a restart of Redis.", "none: a restart of Redis loses all tasks")
	}
	return warning("persistence", "Look in the provider's console whether data survive a restart.", "not told")
}

// connections judges what is left of the limit.
func (f facts) connections(needs int) Result {
	limit, known := f.number("maxclients")
	used, counted := f.number("connected_clients")
	if !known || !counted {
		return warning("connections", "Look in the provider's console how many the plan allows.", "a node opens %d; the limit is not told", needs)
	}
	left := max(0, limit-used)
	text := fmt.Sprintf("%d of %d in use, %d left; a node opens %d", used, limit, left, needs)
	switch {
	case left < int64(needs):
		return warning("connections", "Raise maxclients or the plan, or close other clients (CLIENT LIST shows them).", "%s: too few", text)
	case left < 2*int64(needs) || left < limit/10:
		return warning("connections", "A deploy runs two nodes for a while, and the application's own clients need some, too.", "%s: few", text)
	}
	return ok("connections", "%s", text)
}

func (f facts) database(t *redisconn.Target) Result {
	if n := f["databases"]; n != "" {
		return ok("database", "%d, of %s", t.DB, n)
	}
	return ok("database", "%d", t.DB)
}

// amount writes a number of them in the unit that is next below.
func amount(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
