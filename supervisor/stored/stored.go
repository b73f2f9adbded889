// Package stored keeps settings in Redis, for containers whose files nobody can edit: the text of a TOML file, with a version, and the
// versions before it. `agensium config push` writes, every node reads. It never looks into a text: package config does.
package stored

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Version is one state of the settings.
type Version struct {
	Number int       `json:"version"` // from 1
	Time   time.Time `json:"time"`
	By     string    `json:"by"`   // who pushed it, user@host
	Note   string    `json:"note"` // what it is, such as the name of the file
	Text   string    `json:"text"` // may be empty: then nothing is set
}

// Kept is how many versions are kept.
const Kept = 20

// ErrConflict says that somebody else has pushed meanwhile.
var ErrConflict = errors.New("the settings in Redis have changed meanwhile")

// Store is where the settings are: a list, the newest version first, in the broker's database.
type Store struct {
	client *redis.Client
	key    string
}

// New uses a client of the broker's database; prefix is kombu's global_keyprefix.
func New(client *redis.Client, prefix string) *Store {
	return &Store{client: client, key: Channel(prefix)}
}

// Channel is where each push is announced, by its number. Who listens there reads the settings.
func Channel(prefix string) string { return prefix + "agensium:settings" }

// Latest returns the newest version; nil if there is none. It is one command.
func (s *Store) Latest(ctx context.Context) (*Version, error) {
	v, err := latest(s.client.LIndex(ctx, s.key, 0))
	if err != nil {
		return nil, fmt.Errorf("read settings from Redis: %w", err)
	}
	return v, nil
}

func latest(reply *redis.StringCmd) (*Version, error) {
	text, err := reply.Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decode(text)
}

func decode(text []byte) (*Version, error) {
	var v Version
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("an entry is not what agensium writes: %w", err)
	}
	return &v, nil
}

// History returns all versions that are kept, the newest first.
func (s *Store) History(ctx context.Context) ([]Version, error) {
	texts, err := s.client.LRange(ctx, s.key, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read settings from Redis: %w", err)
	}
	all := make([]Version, 0, len(texts))
	for _, text := range texts {
		v, err := decode([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("read settings from Redis: %w", err)
		}
		all = append(all, *v)
	}
	return all, nil
}

// Push stores a version after the one with the number before (0: there is none yet), and announces it. ErrConflict: that is not
// the newest any more, and nothing was stored.
func (s *Store) Push(ctx context.Context, before int, v Version) (Version, error) {
	v.Number = before + 1
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, a number and a time
	}
	err = s.client.Watch(ctx, func(tx *redis.Tx) error {
		now, err := latest(tx.LIndex(ctx, s.key, 0))
		if err != nil {
			return err
		}
		if now == nil && before != 0 || now != nil && now.Number != before {
			return ErrConflict
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.LPush(ctx, s.key, text)
			p.LTrim(ctx, s.key, 0, Kept-1)
			p.Publish(ctx, s.key, v.Number)
			return nil
		})
		return err
	}, s.key)
	if errors.Is(err, redis.TxFailedErr) {
		err = ErrConflict
	}
	if err != nil {
		return Version{}, fmt.Errorf("store settings in Redis: %w", err)
	}
	return v, nil
}
