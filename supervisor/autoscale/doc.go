// Package autoscale decides how many slots there should be.
//
// It owns one rule, [Decide], and the small estimators that feed it: service times ([Services], [Mix]), arrivals
// ([Arrivals]), memory of a child ([Histogram], [Memory.Room]), gain of more slots ([Gain]), a node's part of the fleet
// ([Share]). The supervisor calls them: it fills a [Sample] about once a second
// and whenever the last idle slot was taken, and hands the target to the pool, which retires idle slots only.
//
// The rule in short, with f the part of a slot that one waiting message needs:
//
//	wish = f × waiting + half of the slots that arrivals fill + reserve + busy slots that will not be free in time
//	f    = service ÷ the time that is left of the SLO, at most 1
//
// The reserve is the square root of what arrives while a slot starts, and nothing if a start fits into the SLO many times. The
// wish is followed up at once; down when it was not higher for a whole window, but not below what arrivals fill; and only as
// far as the bounds allow. With an SLO of zero f is 1: every waiting message has a slot started for it, which is what
// --autoscale=max,min asks for.
//
// Nothing here has a clock, a goroutine, a file or a connection; the time is always an argument. None of the types is safe
// for concurrent use: one goroutine of the supervisor owns them.
package autoscale
