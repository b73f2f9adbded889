package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/supervisor/config"
	"github.com/agensium/agensium/supervisor/reload"
	"github.com/agensium/agensium/supervisor/stored"
)

// causeStart is why the settings are read again that the node has just begun with.
const causeStart = "start"

// storedTimeout bounds a look at the settings in Redis.
const storedTimeout = 5 * time.Second

// fromRedis looks after the settings that `agensium config push` leaves in Redis. It looks when a notice says that there are others, when
// the connection of the notices stands anew, and when somebody asks for a reload: never in between.
type fromRedis struct {
	connect func() *redis.Client
	prefix  string
	watcher *reload.Watcher
	read    func(why string) // has everything read again, for somebody who asked for it
	log     hclog.Logger
	wake    chan struct{}
	asked   chan string // a reload, and why

	mu    sync.Mutex // held during a look
	known int        // version that was handed on last
}

func (s *Supervisor) newFromRedis(connect func() *redis.Client, prefix string) *fromRedis {
	return &fromRedis{connect: connect, prefix: prefix, watcher: s.watcher, read: s.read, log: everyLine(s.log).Named("config"),
		wake: make(chan struct{}, 1), asked: make(chan string, 1)}
}

// open returns the store on a connection of its own.
func (f *fromRedis) open() (*stored.Store, func() error) {
	client := f.connect()
	return stored.New(client, f.prefix), client.Close
}

// nudge has somebody look soon. It never waits and may be called by anyone.
func (f *fromRedis) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// reload has somebody look soon, and everything read again then: a reload that was answered has the settings in Redis, too. As nudge it
// never waits; those that are asked for meanwhile are one.
func (f *fromRedis) reload(why string) {
	select {
	case f.asked <- why:
	default:
	}
}

// run looks when it is told to, until ctx ends.
func (f *fromRedis) run(ctx context.Context) {
	for {
		select {
		case <-f.wake:
			f.look(ctx)
		case why := <-f.asked:
			f.look(ctx)
			f.read(why)
		case <-ctx.Done():
			return
		}
	}
}

// look hands on the settings if they are others than before.
func (f *fromRedis) look(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, err := f.latest(ctx)
	if err != nil {
		if ctx.Err() == nil {
			f.log.Warn("look for settings in Redis", "error", err, "next", "keep those in force")
		}
		return
	}
	switch {
	case v == nil && f.known == 0, v != nil && f.known == v.Number:
		return
	case v == nil:
		f.known = 0
		f.watcher.Store(nil, "no settings in Redis any more")
	default:
		f.known = v.Number
		f.watcher.Store(document(v), fmt.Sprintf("redis version %d by %s", v.Number, v.By))
	}
}

func (f *fromRedis) latest(ctx context.Context) (*stored.Version, error) {
	store, done := f.open()
	defer done()
	ctx, cancel := context.WithTimeout(ctx, storedTimeout)
	defer cancel()
	return store.Latest(ctx)
}

func document(v *stored.Version) *config.Document {
	return &config.Document{Name: "redis", Version: v.Number, Text: []byte(v.Text)}
}

// takeStored adds the settings in Redis to those that were read, before the node begins. Where they lie is known when the application
// was imported; if they want it otherwise it is imported again. What is wrong with them changes nothing.
func (s *Supervisor) takeStored(ctx context.Context) {
	now := s.current.Load()
	target, _, err := s.targets(now)
	if s.embedded != nil || err != nil {
		return // connect says what is wrong
	}
	f := s.newFromRedis(redisClient(target, "settings"), now.Config.Broker.KeyPrefix)
	s.stored.Store(f)
	v, err := f.latest(ctx)
	if err != nil {
		f.log.Warn("look for settings in Redis", "error", err, "next", "begin without, look again when the broker is usable")
		return
	}
	if v == nil {
		return
	}
	f.known = v.Number
	in := s.loaded.Load().Input()
	in.Stored = document(v)
	loaded, err := config.Load(in)
	if err != nil {
		s.applier.refuse(reload.Result{Cause: fmt.Sprintf("redis version %d", v.Number), Err: err})
		return
	}
	if err := s.beginWith(ctx, loaded); err != nil {
		f.log.Error("settings in Redis not taken", "version", v.Number, "error", err, "next", "begin without them")
		return
	}
	s.watcher.Store(in.Stored, causeStart)
	f.log.Info("settings in Redis are part of those in force", "version", v.Number, "by", v.By, "time", v.Time.Format(time.RFC3339))
}

// beginWith replaces the settings of the start by others.
func (s *Supervisor) beginWith(ctx context.Context, loaded *config.Loaded) error {
	before, now, old := s.loaded.Load(), s.current.Load(), s.generation.Load()
	wanted := s.resolve(loaded, now.info)
	again := slices.ContainsFunc(config.Diff(now.Config, wanted.Config), renews)
	s.loaded.Store(loaded)
	if !again {
		s.adopt(loaded, now.info)
	} else if err := s.startApplication(ctx); err != nil {
		s.loaded.Store(before)
		s.generation.Store(old)
		s.current.Store(now)
		return err
	} else {
		old.close(s.log)
	}
	s.setLogLevel(loaded.Config.Log.Level)
	return nil
}

// followStored has the settings in Redis looked at when others are pushed. Without remote control nobody tells; then a reload has to be
// asked for.
func (s *Supervisor) followStored(ctx context.Context) {
	f := s.stored.Load()
	if f == nil || s.control == nil {
		return
	}
	err := s.control.Subscribe(ctx, stored.Channel(f.prefix), func(string) { f.nudge() })
	if err != nil {
		s.log.Warn("listen for settings in Redis", "error", err, "next", "look when a reload is asked for")
	}
	s.control.Connected(func(context.Context) { f.nudge() })
}

// unstorable are the settings that count before Redis is looked at.
var unstorable = []string{"broker.url", "broker.embedded_listen", "broker.key_prefix", "node", "admin.listen", "log.file", "log.format"}

// CheckStored says what in a document that is meant for Redis can only stand in a file or the environment.
func CheckStored(e *config.Effective) error {
	var found []string
	for _, key := range unstorable {
		if e.Origins[key].Kind == config.FromRedis {
			found = append(found, key)
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("%s cannot stand in Redis: a node needs it before it looks there", strings.Join(found, ", "))
	}
	return nil
}
