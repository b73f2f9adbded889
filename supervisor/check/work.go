package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

// role is what a Redis is for.
type role int

const (
	forMessages role = 1 << iota // claims, parked tasks, leases, remote control
	forResults                   // documents, groups and chords, which Celery's code in the children keeps
)

// proof is one kind of a node's work: commands as it sends them, with $names for keys of the check's own.
type proof struct {
	name string
	of   role
	soft string // if not empty: not everybody needs it, for this reason
	send []string

	spare bool // a server that does not know the commands will do, too
}

// proofs has each command that a node sends. That it has is tested against what Redis sees of a node, that each is tried against
// users who may not.
var proofs = []proof{
	{name: "set/get/del", of: forMessages | forResults, send: []string{
		"SET $value fit EX 60", "SET $value fit EX 60 GET", "GET $value", "DEL $value",
	}},
	{name: "lists", of: forMessages, send: []string{
		"LPUSH $queue message", "EXPIRE $queue 60", "LMOVE $queue $claim RIGHT LEFT", "PEXPIRE $claim 60000", "LINDEX $claim 0", "LLEN $claim", "LRANGE $claim 0 0",
		"EXISTS $claim $queue", "RPUSH $queue message", "LPOP $queue", "BLMOVE $claim $queue RIGHT LEFT 0.05", "BLMOVE $claim $queue RIGHT LEFT 0.05", "DEL $queue", "DEL $claim",
	}},
	{name: "waiting", of: forMessages, send: []string{"CLIENT ID", "CLIENT UNBLOCK 0"}},
	{name: "connections", of: forMessages, soft: "a node that was killed stays in the registry for some minutes", spare: true, send: []string{"CLIENT LIST ID 1"}},
	{name: "hashes", of: forMessages, send: []string{
		"HSET $hash field message", "PEXPIRE $hash 60000", "HGET $hash field", "HMGET $hash field", "HGETALL $hash", "HKEYS $hash", "HEXISTS $hash field", "HDEL $hash field", "DEL $hash",
	}},
	{name: "sets", of: forMessages, send: []string{
		"ZADD $sorted 1 field", "PEXPIRE $sorted 60000", "PTTL $sorted", "ZCARD $sorted", "ZRANGE $sorted 0 0", "ZRANGEBYSCORE $sorted 0 1", "ZREM $sorted other",
		"ZREMRANGEBYRANK $sorted 1 1", "ZREMRANGEBYSCORE $sorted 2 3", "DEL $sorted", "SADD $set field", "PEXPIRE $set 60000", "SISMEMBER $set field", "SREM $set field", "DEL $set",
	}},
	{name: "groups", of: forResults, send: []string{
		"SETEX $value 60 fit", "MGET $value", "DEL $value", "RPUSH $list part", "EXPIRE $list 60", "LLEN $list", "LRANGE $list 0 0", "DEL $list",
		"ZADD $sorted 1 part", "EXPIRE $sorted 60", "ZCOUNT $sorted 0 1", "ZRANGE $sorted 0 0", "DEL $sorted", "SADD $set part", "EXPIRE $set 60", "SISMEMBER $set part", "DEL $set",
	}},
	{name: "chords", of: forResults, soft: "Celery 5.7 and newer count the parts of a chord with it: chords would never end", send: []string{"SCRIPT LOAD $script", "EVALSHA $digest 0"}},
	{name: "scripts", of: forMessages | forResults, send: []string{"MULTI", "EXEC", "EVAL $script 0"}},
	{name: "pub/sub", of: forMessages | forResults, send: []string{"SUBSCRIBE $channel", "PUBLISH $channel fit", "UNSUBSCRIBE $channel"}},
	{name: "control", of: forMessages, send: []string{"PSUBSCRIBE"}}, // on its own channel
}

const (
	script = "return 1"
	digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db" // its SHA-1
)

// Commands are the names of all commands that a node sends to its Redis, as ACLs have them.
func Commands() []string {
	var all []string
	for _, p := range proofs {
		for _, c := range p.send {
			all = append(all, commandName(strings.Fields(c)))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// commandName is a command's name in an ACL: client|id.
func commandName(words []string) string {
	name := strings.ToLower(words[0])
	if name == "client" || name == "script" {
		name += "|" + strings.ToLower(words[1])
	}
	return name
}

// prove does what a node does, on keys of its own. It tells whether the server is still there.
func (s *session) prove(ctx context.Context) bool {
	defer s.clean()
	for _, p := range proofs {
		if p.of&s.role == 0 || p.name == "control" && !s.Settings.Config.Control.Enabled {
			continue
		}
		err := s.try(ctx, p)
		if err == nil {
			s.add(ok(p.name, "%s", strings.Join(p.shown(), ", ")))
			continue
		}
		if s.add(s.denied(p, err)).Cause == redisconn.Unreachable {
			return false
		}
	}
	s.permissions(ctx)
	return true
}

// shown are the commands that tell what a proof is about.
func (p proof) shown() (names []string) {
	for _, c := range p.send {
		words := strings.Fields(c)
		if name := strings.ToUpper(strings.ReplaceAll(commandName(words), "|", " ")); !strings.HasSuffix(name, "EXPIRE") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (s *session) try(ctx context.Context, p proof) error {
	switch p.name {
	case "pub/sub":
		return s.pubsub(ctx)
	case "scripts":
		return s.scripts(ctx)
	case "control":
		return s.listen(ctx)
	}
	pipe := s.client.Pipeline()
	for _, c := range p.send {
		pipe.Do(ctx, s.args(c)...)
	}
	cmds, _ := pipe.Exec(ctx)
	return gather(cmds)
}

// args puts names of our own into a command.
func (s *session) args(command string) []any {
	var all []any
	for _, word := range strings.Fields(command) {
		switch name, own := strings.CutPrefix(word, "$"); {
		case name == "script":
			all = append(all, script)
		case name == "digest":
			all = append(all, digest)
		case own:
			all = append(all, s.key(name))
		default:
			all = append(all, word)
		}
	}
	return all
}

// clean deletes our keys, one by one: a cluster would refuse them all.
func (s *session) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout())
	defer cancel()
	for _, name := range []string{"value", "queue", "claim", "hash", "sorted", "set", "list"} {
		_ = s.client.Del(ctx, s.key(name)).Err()
	}
}

// scripts sends a transaction and a script.
func (s *session) scripts(ctx context.Context) error {
	cmds, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, s.key("value"), "fit", keyExpires)
		p.Del(ctx, s.key("value"))
		return nil
	})
	var d denial
	if inner := gather(cmds); ofNames(inner) {
		return inner
	}
	if err != nil {
		if redisconn.Classify(err).Name != redisconn.NoPerm {
			return fmt.Errorf("MULTI: %w", err)
		}
		d = denial{[]string{"multi", "exec"}, err}
	}
	n, err := s.client.Do(ctx, s.args("EVAL $script 0")...).Int()
	switch {
	case redisconn.Classify(err).Name == redisconn.NoPerm:
		d.commands, d.err = append(d.commands, "eval"), err
	case err == nil && n != 1:
		return fmt.Errorf("EVAL: the script returned %d, not 1", n)
	case err != nil:
		return fmt.Errorf("EVAL: %w", err)
	}
	if d.err != nil {
		return &d
	}
	return nil
}

// pubsub subscribes to a channel of our own and hears what it says itself.
func (s *session) pubsub(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	channel := s.key("channel")
	var d denial
	say := func(command string, err error) error {
		if redisconn.Classify(err).Name == redisconn.NoPerm {
			d.commands = append(d.commands, command)
			if d.err == nil {
				d.err = err
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", strings.ToUpper(command), err)
		}
		return nil
	}
	plain := s.client.Subscribe(ctx, channel)
	defer plain.Close()
	if err := say("subscribe", s.confirmed(ctx, plain)); err != nil {
		return err
	}
	if err := say("publish", s.client.Publish(ctx, channel, "fit").Err()); err != nil {
		return err
	}
	if d.err == nil {
		if _, err := plain.ReceiveTimeout(ctx, s.timeout()); err != nil {
			return fmt.Errorf("receive what was published: %w", err)
		}
	}
	if err := plain.Unsubscribe(ctx, channel); err == nil {
		_, err = plain.ReceiveTimeout(ctx, s.timeout())
		if d.err != nil && redis.HasErrorPrefix(err, "NOSUB") { // Valkey, when SUBSCRIBE is not allowed
			err = nil
		}
		if err := say("unsubscribe", err); err != nil {
			return err
		}
	}
	if d.err != nil {
		return &d
	}
	return nil
}

// listen subscribes to remote control as a node does: a pattern, though it is none.
func (s *session) listen(ctx context.Context) error {
	_, _, requests := s.names()
	sub := s.client.PSubscribe(ctx, requests)
	defer sub.Close()
	err := s.confirmed(ctx, sub)
	if redisconn.Classify(err).Name == redisconn.NoPerm {
		if ofNames(err) {
			return nil // the names are another step
		}
		return &denial{[]string{"psubscribe"}, err}
	}
	return err
}

// confirmed waits for the answer to a subscription.
func (s *session) confirmed(ctx context.Context, sub *redis.PubSub) error {
	_, err := sub.ReceiveTimeout(ctx, s.timeout())
	return err
}
