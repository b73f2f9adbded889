package check

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/agensium/agensium/celery/control"
	"github.com/agensium/agensium/celery/redisconn"
)

// permissions looks whether the user may use the names that a node uses. It reads and listens only.
func (s *session) permissions(ctx context.Context) {
	keys, channels, requests := s.names()
	pipe := s.client.Pipeline()
	for _, key := range keys {
		pipe.Exists(ctx, key)
	}
	cmds, _ := pipe.Exec(ctx)
	var refused []string
	var because error
	look := func(name string, err error) {
		if redisconn.Classify(err).Name != redisconn.NoPerm || !ofNames(err) {
			return
		}
		if refused = append(refused, name); because == nil {
			because = err
		}
	}
	for i, cmd := range cmds {
		look("~"+keys[i], cmd.Err())
	}
	for _, channel := range channels {
		sub := s.client.Subscribe(ctx, channel)
		look("&"+channel, s.confirmed(ctx, sub))
		sub.Close()
	}
	if requests != "" {
		sub := s.client.PSubscribe(ctx, requests)
		look("&"+requests, s.confirmed(ctx, sub))
		sub.Close()
	}
	if because == nil {
		s.add(ok("names", "the keys and channels of %s may be used", s.whoseNames()))
		return
	}
	r := failed("names", "Grant the keys (~) and channels (&), or patterns for them: ACL SETUSER "+s.user()+" "+strings.Join(refused, " "), "%s: %v", strings.Join(refused, ", "), because)
	r.Cause = redisconn.NoPerm
	s.add(r)
}

// ofNames tells whether a refusal is about a key or a channel, and not about the command: "no permissions to access one of the keys".
func ofNames(err error) bool {
	return err != nil && strings.Contains(err.Error(), "permissions to access")
}

func (s *session) whoseNames() string {
	var all []string
	if s.role&forMessages != 0 {
		all = append(all, "queues", "unacked", "agensium")
		if s.Settings.Config.Control.Enabled {
			all = append(all, "remote control")
		}
	}
	if s.role&forResults != 0 {
		all = append(all, "results")
	}
	return strings.Join(all, ", ")
}

// names are examples of the keys and channels that a node uses here.
func (s *session) names() (keys, channels []string, requests string) {
	b := s.Settings.Config.Broker
	var transport map[string]any
	results := resultKeys
	if s.App != nil {
		transport = s.App.Info.Settings.BrokerTransport
		if p := s.App.Info.Settings.ResultPrefix; p != "" {
			results = p
		}
	}
	if s.role&forMessages != 0 {
		for _, queue := range s.Settings.Config.Consumed() {
			for _, step := range b.PrioritySteps {
				if key := b.KeyPrefix + queue; step == 0 {
					keys = append(keys, key)
				} else {
					keys = append(keys, key+b.Separator+strconv.Itoa(step))
				}
			}
		}
		for _, name := range []string{"unacked", "unacked_index", "unacked_mutex"} {
			if own, _ := transport[name+"_key"].(string); own != "" {
				name = own
			}
			keys = append(keys, b.KeyPrefix+name)
		}
		keys = append(keys, b.KeyPrefix+"agensium:nodes")
		channels = append(channels, b.KeyPrefix+"agensium:notice")
		if s.Settings.Config.Control.Enabled {
			k, c, r := control.NewNames(s.target.DB, transport, "", "").Touched()
			keys, channels, requests = append(keys, k...), append(channels, c...), r
		}
	}
	if s.role&forResults != 0 {
		keys, channels = append(keys, results+"check"), append(channels, results+"check")
	}
	return slices.Compact(keys), channels, requests
}

const resultKeys = "celery-task-meta-"
