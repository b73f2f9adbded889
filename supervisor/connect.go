package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/control"
	"github.com/agensium/agensium/celery/redisconn"
)

// closeTimeout bounds each step of the end that does not depend on tasks.
const closeTimeout = 5 * time.Second

const hintURLs = "set broker.url and results.url, or CELERY_BROKER_URL and CELERY_RESULT_BACKEND"

// connect checks where broker and results are, and prepares broker and control. No connection stays open yet.
func (s *Supervisor) connect(ctx context.Context) error {
	now := s.current.Load()
	target, results, err := s.targets(now)
	if err != nil {
		return &SetupError{Err: err, Hint: hintURLs}
	}
	if err := s.checkFitness(ctx, target, results); err != nil {
		return err
	}
	c := now.Config
	s.target = target
	s.consumed.set(c.Consumed())
	s.broker, err = broker.New(s.brokerOptions(now, target, results))
	if err != nil {
		return &SetupError{Err: fmt.Errorf("broker: %w", err)}
	}
	s.turns = turns{shared: turnsOf(c.Broker.KeyPrefix, s.broker.Do), log: s.log.Named("task"), next: map[string]time.Time{}}
	if err := s.fill(s.generation.Load(), now, target, results); err != nil {
		return err
	}
	if !c.Control.Enabled {
		return nil
	}
	s.control, err = control.New(s.controlOptions(now, target))
	if err != nil {
		return fmt.Errorf("remote control: %w", err)
	}
	return nil
}

func (s *Supervisor) brokerOptions(now *settings, target, results *redisconn.Target) broker.Options {
	c, transport := now.Config, now.info.Settings.BrokerTransport
	return broker.Options{
		Target: target, Results: results, Node: s.node, Version: s.o.Version, StateDir: s.stateDir(),
		Queues: c.Consumed(), QueueOrder: c.Broker.QueueOrder, KeyPrefix: c.Broker.KeyPrefix, Separator: c.Broker.Separator,
		PrioritySteps: c.Broker.PrioritySteps, VisibilityTimeout: c.Broker.VisibilityTimeout,
		UnackedKey: text(transport["unacked_key"]), UnackedIndexKey: text(transport["unacked_index_key"]),
		UnackedMutexKey: text(transport["unacked_mutex_key"]),
		ResultExpires:   c.Results.Expires, MaxBlocked: c.Broker.MaxBlocked, BlockTimeout: c.Broker.BlockTimeout,
		MaxDeliveries: c.Tasks.MaxDeliveries, MaxDeadLetters: c.DeadLetters.Max, DeadLetterAge: c.DeadLetters.MaxAge,
		BusyLease: c.Lease.TTL, IdleLease: c.Lease.IdleTTL, LookEvery: c.Lease.Look, PeersEvery: c.Lease.LookWithPeers, Quarantine: c.Lease.Quarantine,
		DialTimeout: c.Broker.ConnectTimeout, IOTimeout: c.Broker.SocketTimeout, Log: s.log.Named("broker"),
		Bindings: s.bindings,
		Judge:    func(queue string, raw []byte) broker.Settlement { return s.source.judge(queue, raw) }, // Run comes after work made the source
	}
}

func (s *Supervisor) controlOptions(now *settings, target *redisconn.Target) control.Options {
	c, info := now.Config, now.info
	return control.Options{
		Name: s.node, Log: s.log.Named("control"), Node: s.controlled(),
		Names:       control.NewNames(target.DB, info.Settings.BrokerTransport, text(info.Conf["control_exchange"]), text(info.Conf["event_exchange"])),
		Connect:     redisClient(target, "control"),
		Events:      control.EventOptions{Enabled: c.Events.Enabled, Every: c.Events.Heartbeat, Version: info.Celery, Load: s.tally.load},
		Keepalive:   c.Control.Keepalive,
		RevokedMost: c.Control.RevokesMax, RevokedAge: c.Control.RevokeExpire,
	}
}

// listenForPeers has the broker look for other nodes when one says that it is there.
func (s *Supervisor) listenForPeers(ctx context.Context) {
	err := s.control.Subscribe(ctx, s.broker.NoticeChannel(), func(string) { s.broker.Notice() })
	if err != nil {
		s.log.Warn("listen for other nodes", "error", err, "next", "look for them from time to time")
	}
}

func (s *Supervisor) sayGoodbye() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.broker.Close(ctx); err != nil {
		return fmt.Errorf("leave the broker: %w", err)
	}
	return nil
}

// stateDir is where locks tell the next node on this host that this one is alive; empty if there is no such place.
func (s *Supervisor) stateDir() string {
	dir := os.Getenv("STATE_DIRECTORY") // systemd
	if dir == "" {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("agensium-%d", os.Getuid()))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.log.Warn("no directory for locks", "error", err, "next", "after a crash a restart waits for the lease")
		return ""
	}
	return dir
}
