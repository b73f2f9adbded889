package check

import (
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/redisconn"
)

func TestProviders(t *testing.T) {
	for host, want := range map[string][]string{
		"eu1-nice-fox-1234.upstash.io":                     {"Upstash", "bills by the command", "broker.metered", "83,272 commands", "$0.17 a month"},
		"redis.railway.internal":                           {"Railway", "private network"},
		"monorail.proxy.rlwy.net":                          {"Railway", "public proxy", "REDIS_URL"},
		"redis-1.c1.us-east-1-2.ec2.redns.redis-cloud.com": {"Redis Cloud", "only database 0", "broker.max_connections"},
		"redis-1.c1.eu.ec2.cloud.redislabs.com":            {"Redis Cloud"},
		"master.shop.abc.euw1.cache.amazonaws.com":         {"ElastiCache", "VPC", "noeviction"},
		"clustercfg.shop.abc.euw1.cache.amazonaws.com":     {"ElastiCache", "cluster mode"},
		"shop-abc.serverless.euw1.cache.amazonaws.com":     {"ElastiCache", "cluster mode"},
		"replica.shop.abc.euw1.cache.amazonaws.com":        {"ElastiCache", "reader endpoint", "primary"},
		"ec2-34-1-2-3.compute-1.amazonaws.com":             {"Heroku", "ssl_cert_reqs=none"},
		"localhost":                                        {"plain Redis", "83,272 commands"},
		"notupstash.io":                                    {"plain Redis"},
	} {
		r := &run{Subject: Subject{Settings: settings(t), Env: nobody}}
		got := r.provider(target(t, "rediss://"+host+"/0", nil), facts{}, forMessages)
		for _, part := range want {
			if !strings.Contains(got.Text+got.Hint, part) {
				t.Errorf("%s: %q is not in %q → %q", host, part, got.Text, got.Hint)
			}
		}
	}
}

// A name that only exists inside a platform's network explains itself.
func TestProviderThatIsOutOfReach(t *testing.T) {
	r := checkedWith(t, Subject{Broker: target(t, "redis://master.shop.abc.euw1.cache.amazonaws.com", nil), Resolver: resolver(t)})
	r.expect(t, "dns", Failed, redisconn.Unreachable)
	r.expect(t, "provider", OK, "", "ElastiCache", "from inside its VPC only")
}

func TestProviderThatIsMetered(t *testing.T) {
	s := settings(t)
	s.Config.Broker.Metered = true
	r := &run{Subject: Subject{Settings: s, Env: func(name string) (string, bool) { return "worker.1", name == "DYNO" }}}
	got := r.provider(target(t, "rediss://redis.example/0", nil), facts{}, forMessages)
	if !strings.Contains(got.Text, "Heroku") || !strings.Contains(got.Text, "$0.80 for 100,000 tasks") {
		t.Error(got.Text)
	}
}
