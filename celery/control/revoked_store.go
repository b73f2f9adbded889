package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The shared list is a sorted set, scored with the minute of the revocation, that expires with its youngest entry.
// Who changes it publishes what is new on the channel of the same name; who (re)connects reads it. In between
// nobody asks.

// revokedTimeout bounds what a command or a start waits for the shared list.
const revokedTimeout = 10 * time.Second

// notice is what a node publishes about new entries.
type notice struct {
	At    int64    `json:"at"` // unix seconds
	Names []string `json:"names"`
}

// Revoke puts ids on the list of all nodes. It holds here when Revoke returns, elsewhere as soon as Redis can be reached.
func (r *Revoked) Revoke(ctx context.Context, ids []string) {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = ofID + id
	}
	r.revoke(ctx, names)
}

// RevokeStamps puts values of stamped headers on the list of all nodes: header to a value or a list of values, as
// decoded from JSON.
func (r *Revoked) RevokeStamps(ctx context.Context, headers map[string]any) {
	var names []string
	for header, values := range headers {
		for _, value := range maybeList(values) {
			names = append(names, stampName(header, canonical(value)))
		}
	}
	r.revoke(ctx, names)
}

func (r *Revoked) revoke(ctx context.Context, names []string) {
	now := minute(time.Now())
	r.mu.Lock()
	for _, name := range names {
		n := revocation{name, now}
		r.put(n)
		r.unsaved = append(r.unsaved, n)
	}
	if extra := len(r.unsaved) - r.most(); extra > 0 {
		r.unsaved = r.unsaved[extra:]
	}
	r.mu.Unlock()
	r.save(ctx)
}

// load reads the shared list and writes what could not be written before. It runs whenever the connection stands anew.
func (r *Revoked) load(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, revokedTimeout)
	defer cancel()
	var found []redis.Z
	err := r.link.do(ctx, func(ctx context.Context, client *redis.Client) (err error) {
		found, err = client.ZRangeByScoreWithScores(ctx, r.names.revoked(), &redis.ZRangeBy{Min: r.oldest(), Max: "+inf"}).Result()
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			r.log.Warn("revoked tasks not read", "error", err, "next", "when the connection stands anew")
		}
		return
	}
	r.mu.Lock()
	for _, z := range found {
		if name, ok := z.Member.(string); ok {
			r.put(revocation{name, time.Unix(int64(z.Score), 0)})
		}
	}
	r.mu.Unlock()
	r.once.Do(func() { close(r.loaded) })
	if len(found) > 0 {
		r.log.Debug("revoked tasks read", "tasks", len(found))
	}
	r.save(ctx)
}

// save writes what has not been written, and tells the other nodes if it is news to the list. It is done for all who wait for
// it at once.
func (r *Revoked) save(ctx context.Context) {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	unsaved := r.unsaved
	r.unsaved = nil
	r.mu.Unlock()
	if len(unsaved) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, revokedTimeout)
	defer cancel()
	if err := r.link.do(ctx, func(ctx context.Context, client *redis.Client) error { return r.write(ctx, client, unsaved) }); err != nil {
		r.mu.Lock()
		r.unsaved = append(unsaved, r.unsaved...)
		r.mu.Unlock()
		r.log.Warn("revoked tasks not shared", "tasks", len(unsaved), "error", err, "next", "when the connection stands anew")
	}
}

func (r *Revoked) write(ctx context.Context, client *redis.Client, news []revocation) error {
	key := r.names.revoked()
	members, names := make([]redis.Z, len(news)), make([]string, len(news))
	for i, n := range news {
		members[i], names[i] = redis.Z{Score: float64(n.at.Unix()), Member: n.name}, n.name
	}
	var changed *redis.IntCmd
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		changed = p.ZAddArgs(ctx, key, redis.ZAddArgs{GT: true, Ch: true, Members: members})
		p.ZRemRangeByScore(ctx, key, "-inf", "("+r.oldest())
		p.ZRemRangeByRank(ctx, key, 0, int64(-r.most()-1))
		p.Expire(ctx, key, r.age()+time.Minute)
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the list of revoked tasks: %w", err)
	}
	if changed.Val() == 0 {
		return nil // another node was told by the same broadcast
	}
	text, err := json.Marshal(notice{At: news[len(news)-1].at.Unix(), Names: names})
	if err != nil {
		return fmt.Errorf("encode notice of revoked tasks: %w", err)
	}
	if err := client.Publish(ctx, key, text).Err(); err != nil {
		return fmt.Errorf("announce revoked tasks: %w", err)
	}
	return nil
}

// noticed takes over what another node published.
func (r *Revoked) noticed(payload string) {
	var n notice
	if err := json.Unmarshal([]byte(payload), &n); err != nil {
		r.log.Warn("notice of revoked tasks ignored", "error", err, "bytes", len(payload))
		return
	}
	at := time.Unix(n.At, 0)
	if latest := minute(time.Now()); at.After(latest) {
		at = latest // a clock that is ahead must not make an entry stay
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range n.Names {
		r.put(revocation{name, at})
	}
}

// oldest is the score below which entries count no more.
func (r *Revoked) oldest() string { return strconv.FormatInt(time.Now().Add(-r.age()).Unix(), 10) }
