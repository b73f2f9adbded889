package check

import (
	"strconv"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

// as is the URL of a server with a login.
func as(s *celerytest.Redis, login string) string { return "redis://" + login + "@" + s.Addr() + "/0" }

func do(t *testing.T, c *redis.Client, args ...any) {
	t.Helper()
	if err := c.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestPasswordMissing(t *testing.T) {
	s := celerytest.StartRedis(t, "--requirepass", secret)
	checked(t, s.URL(0)).expect(t, "auth", Failed, redisconn.Auth, "NOAUTH", "the URL has none")
}

func TestPasswordWrong(t *testing.T) {
	s := celerytest.StartRedis(t, "--requirepass", "other")
	checked(t, as(s, ":"+secret)).expect(t, "auth", Failed, redisconn.Auth, "WRONGPASS", "percent-encode")
}

func TestPassword(t *testing.T) {
	s := celerytest.StartRedis(t, "--requirepass", secret)
	r := checked(t, as(s, ":"+secret))
	r.expect(t, "auth", OK, "", "logged in with a password")
	r.expect(t, "url", OK, "", "redis://:**@")
}

// Each command that a node sends is tried, and named with the cure if it is not permitted.
func TestPermissionMissing(t *testing.T) {
	s := celerytest.StartRedis(t)
	here := target(t, as(s, "limited:"+secret), nil)
	for _, command := range append(Commands(), "ping") {
		t.Run(command, func(t *testing.T) {
			do(t, s.Client(0), "ACL", "SETUSER", "limited", "reset", "on", ">"+secret, "~*", "&*", "+@all", "-"+command)
			r := checkedWith(t, Subject{Broker: here, Results: here})
			var named bool
			for _, step := range r {
				if step.Mark == OK {
					continue
				}
				named = named || step.Cause == redisconn.NoPerm && strings.Contains(step.Text, "NOPERM") && strings.Contains(strings.ToLower(step.Text+step.Hint), command)
			}
			if !named {
				t.Errorf("nothing names %s", command)
			}
			do(t, s.Client(0), "ACL", "SETUSER", "limited", "+del")
			if keys := s.Client(0).Keys(t.Context(), "*").Val(); len(keys) > 0 && command != "del" {
				t.Errorf("left behind: %q", keys)
			}
			do(t, s.Client(0), "FLUSHALL")
		})
	}
}

// All that is missing is told at once.
func TestPermissionsMissing(t *testing.T) {
	s := celerytest.StartRedis(t)
	do(t, s.Client(0), "ACL", "SETUSER", "limited", "on", ">"+secret, "~*", "&*", "+@all", "-lmove", "-lindex", "-blmove", "-eval", "-exec")
	r := checked(t, as(s, "limited:"+secret))
	r.expect(t, "lists", Failed, redisconn.NoPerm, "LMOVE, LINDEX, BLMOVE: NOPERM", "ACL SETUSER limited +lmove +lindex +blmove")
	r.expect(t, "scripts", Failed, redisconn.NoPerm, "+eval")
}

func TestNamesMissing(t *testing.T) {
	s := celerytest.StartRedis(t)
	do(t, s.Client(0), "ACL", "SETUSER", "narrow", "on", ">"+secret, "~celery*", "+@all")
	r := checked(t, as(s, "narrow:"+secret))
	for _, step := range []string{"set/get/del", "lists", "hashes", "sets", "scripts", "pub/sub"} {
		r.expect(t, step, Failed, redisconn.NoPerm, "agensium:*: NOPERM", "ACL SETUSER narrow ~agensium:* &agensium:*")
	}
	do(t, s.Client(0), "ACL", "SETUSER", "limited", "on", ">"+secret, "~agensium:*", "&agensium:*", "+@all")
	here := target(t, as(s, "limited:"+secret), nil)
	checkedWith(t, Subject{Broker: here, Results: here}).expect(t, "names", Failed, redisconn.NoPerm,
		"~celery, ", "~celery\x06\x169", "~unacked_index", "~_kombu.binding.celery.pidbox", "&/0.celery.pidbox", "&/0.celeryev/worker.heartbeat", "~celery-task-meta-", "ACL SETUSER limited ~celery ")
	do(t, s.Client(0), "ACL", "SETUSER", "limited", "~celery*", "~unacked*", "~_kombu.*", "~*.reply.celery.pidbox*", "&celery-task-meta-*", "&/0.celeryev*", "&/0.celery.pidbox")
	checkedWith(t, Subject{Broker: here, Results: here}).expect(t, "names", OK, "", "queues, unacked, agensium, remote control, results")
}

// A user that may not look at the server's settings can still work.
func TestSettingsRefused(t *testing.T) {
	s := celerytest.StartRedis(t)
	do(t, s.Client(0), "ACL", "SETUSER", "shy", "on", ">"+secret, "~*", "&*", "+@all", "-info", "-config")
	r := checked(t, as(s, "shy:"+secret))
	r.expect(t, "server", Warning, "", "INFO")
	r.expect(t, "memory", Warning, "", "not told")
	r.expect(t, "persistence", Warning, "", "not told")
	r.expect(t, "connections", Warning, "", "not told")
	if !r.OK() {
		t.Error("not fit")
	}
}

func TestWrongDatabase(t *testing.T) {
	s := celerytest.StartRedis(t, "--databases", "1")
	r := checked(t, s.URL(5))
	r.expect(t, "database", Failed, redisconn.WrongDB, "out of range", "use /0")
}

func TestClusterMode(t *testing.T) {
	s := celerytest.StartRedis(t, "--cluster-enabled", "yes")
	checked(t, s.URL(0)).expect(t, "server", Failed, redisconn.Cluster, "cluster mode", "Sentinel")
	checked(t, s.URL(3)).expect(t, "database", Failed, redisconn.Cluster, "SELECT is not allowed in cluster mode")
}

// Where a cluster does not say that it is one, the first commands tell.
func TestClusterInDisguise(t *testing.T) {
	s := celerytest.StartRedis(t, "--cluster-enabled", "yes")
	do(t, s.Client(0), "ACL", "SETUSER", "shy", "on", ">"+secret, "~*", "&*", "+@all", "-info")
	checked(t, as(s, "shy:"+secret)).expect(t, "set/get/del", Failed, redisconn.Cluster, "CLUSTERDOWN")
	do(t, s.Client(0), "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	celerytest.Eventually(t, "the cluster to be up", func() bool {
		return s.Client(0).Get(t.Context(), "x").Err() == redis.Nil
	})
	r := checked(t, as(s, "shy:"+secret))
	r.expect(t, "set/get/del", OK, "")
	r.expect(t, "lists", Failed, redisconn.Cluster, "CROSSSLOT", "Celery cannot use it")
}

func TestClusterMoves(t *testing.T) {
	one, two := celerytest.StartRedis(t, "--cluster-enabled", "yes"), celerytest.StartRedis(t, "--cluster-enabled", "yes")
	do(t, one.Client(0), "ACL", "SETUSER", "shy", "on", ">"+secret, "~*", "&*", "+@all", "-info")
	do(t, two.Client(0), "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	do(t, one.Client(0), "CLUSTER", "MEET", "127.0.0.1", two.Port)
	celerytest.Eventually(t, "the nodes to know each other", func() bool {
		err := one.Client(0).Get(t.Context(), "x").Err()
		return err != nil && strings.HasPrefix(err.Error(), "MOVED")
	})
	checked(t, as(one, "shy:"+secret)).expect(t, "set/get/del", Failed, redisconn.Cluster, "MOVED", "Sentinel")
}

func TestReplica(t *testing.T) {
	primary := celerytest.StartRedis(t)
	replica := celerytest.StartRedis(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(primary.Port))
	checked(t, replica.URL(0)).expect(t, "server", Failed, redisconn.ReadOnly, "read-only replica of 127.0.0.1:"+strconv.Itoa(primary.Port), "primary")
	do(t, replica.Client(0), "ACL", "SETUSER", "shy", "on", ">"+secret, "~*", "&*", "+@all", "-info")
	checked(t, as(replica, "shy:"+secret)).expect(t, "set/get/del", Failed, redisconn.ReadOnly, "READONLY", "primary")
}

func TestMemoryFull(t *testing.T) {
	s := celerytest.StartRedis(t, "--maxmemory", "1")
	checked(t, s.URL(0)).expect(t, "set/get/del", Failed, redisconn.OutOfMemory, "maxmemory")
}

func TestMemoryNearlyFull(t *testing.T) {
	s := celerytest.StartRedis(t, "--maxmemory", "100mb")
	do(t, s.Client(0), "SET", "much", strings.Repeat("x", 40<<20)) // beside which what connections take is little
	used, _ := facts{"n": infoField(t, s, "used_memory")}.number("n")
	do(t, s.Client(0), "CONFIG", "SET", "maxmemory", used+used/20)
	checked(t, s.URL(0)).expect(t, "memory", Warning, "", "9", "%", "more memory")
}

func infoField(t *testing.T, s *celerytest.Redis, name string) string {
	t.Helper()
	f, err := readFacts(t.Context(), s.Client(0))
	if err != nil {
		t.Fatal(err)
	}
	return f[name]
}

func TestEviction(t *testing.T) {
	s := celerytest.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	checked(t, s.URL(0)).expect(t, "memory", Warning, "", "allkeys-lru", "throws away queues", "noeviction")
	do(t, s.Client(0), "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	checked(t, s.URL(0)).expect(t, "memory", Warning, "", "volatile-ttl", "leases", "noeviction")
}

func TestPersistence(t *testing.T) {
	s := celerytest.StartRedis(t)
	checked(t, s.URL(0)).expect(t, "persistence", Warning, "", "none", "appendonly yes")
	do(t, s.Client(0), "CONFIG", "SET", "save", "60 1000")
	checked(t, s.URL(0)).expect(t, "persistence", Warning, "", "snapshots only (save 60 1000)")
	do(t, s.Client(0), "CONFIG", "SET", "appendonly", "yes")
	checked(t, s.URL(0)).expect(t, "persistence", OK, "", "append-only file, everysec")
}

func TestNoConnectionLeft(t *testing.T) {
	s := celerytest.StartRedis(t, "--maxclients", "1")
	only := s.Client(0) // the connection that has asked whether the server is ready may not be gone yet
	celerytest.Eventually(t, "the only connection", func() bool { return only.Ping(t.Context()).Err() == nil })
	checked(t, s.URL(0)).expect(t, "ping", Failed, redisconn.MaxClients, "max number of clients", "raise maxclients")
}

func TestFewConnectionsLeft(t *testing.T) {
	s := celerytest.StartRedis(t, "--maxclients", "5")
	checked(t, s.URL(0)).expect(t, "connections", Warning, "", "1 of 5 in use, 4 left", "too few")
}

// What cannot be had here answers as the provider does.
func TestQuotaUsedUp(t *testing.T) {
	fake := miniredis.RunT(t)
	fake.SetError("ERR max requests limit exceeded. Limit: 500000, Usage: 500001. See https://upstash.com/docs for details")
	checked(t, "redis://"+fake.Addr()).expect(t, "ping", Failed, redisconn.Quota, "max requests limit", "raise the plan")
}

func TestOldServer(t *testing.T) {
	for version, old := range map[string]bool{"5.0.14": true, "6.0.20": true, "6.2.0": false, "7.0.15": false, "8.0.1": false} {
		r := facts{"redis_version": version}.server()
		if (r.Mark == Failed) != old {
			t.Errorf("%s: %s %s", version, r.Mark, r.Text)
		}
		if old {
			Report{r}.expect(t, "server", Failed, "", "no LMOVE", "Redis 6.2")
		}
	}
}

func TestWriteErrorsOfPersistenceFail(t *testing.T) {
	Report{facts{"aof_enabled": "1", "aof_last_write_status": "err"}.persistence()}.expect(t, "persistence", Failed, "", "disk")
	Report{facts{"rdb_last_bgsave_status": "err"}.persistence()}.expect(t, "persistence", Failed, "", "disk")
}

// A result that is stored over one that may have to stay asks for what it replaced, which some servers do not know.
func TestSetThatTellsWhatItReplaced(t *testing.T) {
	fake := miniredis.RunT(t)
	fake.Server().SetPreHook(func(to *server.Peer, command string, args ...string) bool {
		refused := command == "SET" && args[len(args)-1] == "GET"
		if refused {
			to.WriteError("ERR syntax error")
		}
		return refused
	})
	checked(t, "redis://"+fake.Addr()).expect(t, "set/get/del", Failed, redisconn.Other, "SET", "syntax error")
}
