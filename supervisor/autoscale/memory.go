package autoscale

// reserveShare is the part of the memory limit that is left alone: page tables, sockets, the kernel's own.
const reserveShare = 0.1

// free is what children may use altogether: the limit less a tenth, less what is used by others than children.
func (m Memory) free() int64 {
	others := max(0, m.Used-m.Children)
	return m.Limit - int64(reserveShare*float64(m.Limit)) - others
}

// Room is the number of children that fit, those that are there included. Pages which children share with the zygote are not
// theirs, so they count once. False means that nothing is known.
func (m Memory) Room() (int, bool) {
	if m.Limit <= 0 || m.Child <= 0 {
		return 0, false
	}
	return int(min(max(0, m.free())/m.Child, 1<<30)), true
}

// leastGuess is what an unknown child is taken for at least.
const leastGuess = 128 << 20

// GuessChild is what to reckon with for a child before enough tasks have run: twice the zygote, since a child can come to own
// a copy of every page that it shares and then works on data of its own; never less than 128 MiB. A configured limit for a
// child is a better guess: the child leaves when it exceeds it.
func GuessChild(zygote, limit int64) int64 {
	if limit > 0 {
		return limit
	}
	return max(2*zygote, leastGuess)
}

// ChildMemory is the 95th percentile of the peaks in the histogram (bytes, one observation for each task that has ended; what an idle
// child takes says nothing), or the guess while there are fewer than eight. The largest child alive counts in any case, so that the bound falls
// while the first large task still runs.
func ChildMemory(peaks *Histogram, largest, guess int64) int64 {
	measured := guess
	if peaks.Weight() >= 8 {
		measured = int64(peaks.Quantile(0.95))
	}
	return max(measured, largest)
}
