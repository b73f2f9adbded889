package broker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ties are the connections by which Redis may still serve a command of ours, by the numbers that it gives them. They stand in the lock
// file: if we are killed the next node on this host asks Redis whether it has seen them end. When it has, nothing can fill our claim
// keys any more.
type ties struct {
	patience time.Duration // how long one that was cut may still take effect

	mu   sync.Mutex
	all  []tie
	file *lockFile // of the incarnation that began last
}

type tie struct {
	use  *redis.Client
	id   int64     // 0: Redis does not tell
	over time.Time // since when that client has another; zero: this is the one
}

// mostTies are as many as the next node asks for.
const mostTies = 64

// tie is called on each new connection. A server that does not tell its number passes.
func (b *Broker) tie(ctx context.Context, conn *redis.Conn, use *redis.Client) error {
	if b.opt.StateDir == "" {
		return nil
	}
	b.tally.commands.add(purposeRegistry, 1)
	id, err := conn.ClientID(ctx).Result()
	if err != nil && !answered(err) {
		return err
	}
	b.ties.tied(use, id)
	return nil
}

// tied notes a new connection, before its first command.
func (t *ties) tied(use *redis.Client, id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(use)
	t.all = append(t.all, tie{use: use, id: id})
	t.write()
}

// ended notes that a client is closed.
func (t *ties) ended(use *redis.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(use)
	t.write()
}

// end lets the present connection of a client be the last one, and drops those that are over for long.
func (t *ties) end(use *redis.Client) {
	now := time.Now()
	for i := range t.all {
		if t.all[i].use == use && t.all[i].over.IsZero() {
			t.all[i].over = now
		}
	}
	t.all = slices.DeleteFunc(t.all, func(one tie) bool { return !one.over.IsZero() && now.Sub(one.over) > t.patience })
}

// keepIn has the numbers written to a lock file. What stood in the last one is not kept up to date any more, and says so.
func (t *ties) keepIn(f *lockFile) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.file.note(unknownTies)
	t.file = f
	t.write()
}

const unknownTies = "?"

func (t *ties) write() {
	words := make([]string, len(t.all))
	for i, one := range t.all {
		words[i] = strconv.FormatInt(one.id, 10)
		if one.id == 0 || len(t.all) > mostTies {
			t.file.note(unknownTies)
			return
		}
	}
	t.file.note(strings.Join(words, " "))
}

// of is the number of a client's connection; 0 if that is not known.
func (t *ties) of(use *redis.Client) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.all {
		if one.use == use && one.over.IsZero() {
			return one.id
		}
	}
	return 0
}

// severed tells whether Redis is known to have ended all connections of the dead incarnation whose lock file this is. It is asked for two of
// ours with them: an answer that lacks one proves nothing, since what stands before Redis may know its own connections only, or that one
// alone. Redis may not let us ask; then time has to tell.
func (t *ties) severed(ctx context.Context, path string, ask, another *redis.Client) (asked, gone bool) {
	text, err := os.ReadFile(path)
	ours := []int64{t.of(ask), t.of(another)}
	theirs := strings.Fields(string(text))
	if err != nil || slices.Contains(ours, 0) || len(theirs) == 0 || len(theirs) > mostTies {
		return false, false
	}
	args := []any{"CLIENT", "LIST", "ID", ours[0], ours[1]}
	for _, id := range theirs {
		if n, err := strconv.ParseInt(id, 10, 64); err != nil || n <= 0 {
			return false, false
		}
		args = append(args, id)
	}
	list, err := ask.Do(ctx, args...).Text()
	if err != nil {
		return true, false
	}
	listed := func(id any) bool { return strings.Contains("\n"+list, fmt.Sprintf("\nid=%v ", id)) }
	for _, id := range theirs {
		if listed(id) {
			return true, false
		}
	}
	return true, listed(ours[0]) && listed(ours[1])
}
