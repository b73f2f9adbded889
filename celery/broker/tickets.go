package broker

// ticket is a small number that makes the name of a claim key. It is either free, in use (a claim lies under it, or a
// command that may put one there is under way), or in doubt.
type ticket struct {
	number int
	names  []string // claim key by queueKey.index, made when first needed
}

func (t *ticket) name(r *keyring, incarnation string, k *queueKey) string {
	for len(t.names) <= k.index {
		t.names = append(t.names, "")
	}
	if t.names[k.index] == "" {
		t.names[k.index] = r.claim(incarnation, t.number, k.list)
	}
	return t.names[k.index]
}

// tickets hands out numbers below total, the one that was free longest first. Whoever recovers us knows total from the registry,
// so it grows there before it grows here.
type tickets struct {
	total int
	free  []*ticket
}

const firstTickets = 64

func newTickets(total int) *tickets {
	t := &tickets{}
	t.grow(total)
	return t
}

func (t *tickets) grow(total int) {
	for ; t.total < total; t.total++ {
		t.free = append(t.free, &ticket{number: t.total})
	}
}

// take returns nil when there is none left: the registry has to grow.
func (t *tickets) take() *ticket {
	if len(t.free) == 0 {
		return nil
	}
	k := t.free[0]
	t.free = t.free[1:]
	return k
}

func (t *tickets) put(k *ticket) { t.free = append(t.free, k) }
