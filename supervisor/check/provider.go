package check

import (
	"fmt"
	"strings"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor/config"
)

const plain = "plain Redis"

// provider says whose Redis this looks like, what that means, and what a node takes of it in an idle month.
func (r *run) provider(t *redisconn.Target, f facts, of role) Result {
	c := r.Settings.Config
	name, means, hint := r.whose(t.Host, f)
	if of == forResults { // an idle node sends nothing there
		return result("provider", OK, hint, "%s: %s", name, means)
	}
	return result("provider", OK, hint, "%s: %s\n%s", name, means, idleMonth(c, name == "Upstash" || c.Broker.Metered))
}

func (r *run) whose(host string, f facts) (name, means, hint string) {
	_, dyno := r.Env("DYNO")
	switch {
	case hasDomain(host, "upstash.io") || f["upstash_version"] != "":
		if !r.Settings.Config.Broker.Metered {
			hint = "Set broker.metered = true. A task costs four commands, an inspect or events cost more."
		}
		return "Upstash", "bills by the command, unless the plan is a fixed one; has only database 0", hint
	case hasDomain(host, "railway.internal"):
		return "Railway", "private network, not billed by the command; the memory of its container is the limit", ""
	case hasDomain(host, "rlwy.net", "railway.app"):
		return "Railway", "reached by its public proxy, without TLS, and traffic is billed",
			"Inside Railway use the private address: REDIS_URL=${{Redis.REDIS_URL}}."
	case hasDomain(host, "redislabs.com", "redis-cloud.com", "rlrcp.com"):
		return "Redis Cloud", "has only database 0 and caps connections by plan (30 on the free one); the OSS Cluster API must be off",
			"Set broker.max_connections to what the plan allows this node."
	case hasDomain(host, "cache.amazonaws.com"):
		return elastiCache(host)
	case dyno || strings.HasPrefix(host, "ec2-") && hasDomain(host, "amazonaws.com"):
		return "Heroku", "caps connections by plan (20 on Mini), closes those that are quiet for 300 s, and has certificates that nobody signed",
			"Set broker.max_connections, `heroku redis:timeout --seconds 0`, and rediss://…?ssl_cert_reqs=none."
	}
	return plain, "nothing is billed by the command, as far as the address tells", ""
}

func elastiCache(host string) (name, means, hint string) {
	name, means = "ElastiCache", "reached from inside its VPC only"
	switch {
	case strings.Contains(host, ".serverless."), strings.HasPrefix(host, "clustercfg."):
		return name, means + "; this endpoint is in cluster mode", "Use a node-based cache with cluster mode disabled: Celery cannot use cluster mode."
	case strings.HasPrefix(host, "replica."), strings.Contains(host, "-ro."):
		return name, means + "; this is the reader endpoint", "Use the primary endpoint."
	}
	return name, means, "Its default parameter group evicts (volatile-lru): use one with maxmemory-policy noeviction."
}

func hasDomain(host string, domains ...string) bool {
	for _, d := range domains {
		if host == d || strings.HasSuffix(host, "."+d) {
			return true
		}
	}
	return false
}

func idleMonth(c *config.Config, metered bool) string {
	total, parts := c.IdleMonth()
	text := fmt.Sprintf("an idle month of one node: %s commands (%s); a task: %d", config.Thousands(total), parts, config.CommandsPerTask)
	if metered {
		text += fmt.Sprintf("; at %s: %s a month, and %s for 100,000 tasks", config.BillRate, config.Bill(total), config.Bill(100_000*config.CommandsPerTask))
	}
	return text
}
