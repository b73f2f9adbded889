package celery

import "time"

// ParseTime reads what Python's datetime.isoformat writes, and the other forms of ISO 8601 that Celery's worker takes
// (dateutil isoparse): basic format, date alone, any character between date and time, comma for point, offsets Z,
// +hh, +hhmm and +hh:mm; but not week dates and days of the year. A time without an offset is in loc; nil is UTC.
// Digits below the microsecond are dropped, as Python drops them.
func ParseTime(s string, loc *time.Location) (t time.Time, ok bool) {
	p := isoParser{s: s, ok: true}
	year, month, day := p.date()
	var hour, minute, second, nano int
	if loc == nil {
		loc = time.UTC
	}
	if p.s != "" {
		p.s = p.s[1:]
		hour, minute, second, nano = p.clock()
		if zone := p.zone(); zone != nil {
			loc = zone
		}
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nano, loc)
	midnight := hour == 24 && minute == 0 && second == 0 && nano == 0
	p.ok = p.ok && p.s == "" && year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month) &&
		(hour <= 23 || midnight) && minute <= 59 && second <= 59
	return t, p.ok
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// isoParser eats a time from the left. After the first thing that is wrong, ok stays false.
type isoParser struct {
	s  string
	ok bool
}

func (p *isoParser) digits(n int) (v int) {
	if len(p.s) < n {
		p.ok, p.s = false, ""
		return 0
	}
	for _, c := range []byte(p.s[:n]) {
		if c < '0' || c > '9' {
			p.ok = false
		}
		v = v*10 + int(c-'0')
	}
	p.s = p.s[n:]
	return v
}

func (p *isoParser) next(c byte) bool {
	if p.s == "" || p.s[0] != c {
		return false
	}
	p.s = p.s[1:]
	return true
}

func (p *isoParser) date() (year, month, day int) {
	year = p.digits(4)
	dashes := p.next('-')
	month = p.digits(2)
	if dashes && p.s == "" {
		return year, month, 1
	}
	if dashes && !p.next('-') {
		p.ok = false
	}
	return year, month, p.digits(2)
}

func (p *isoParser) clock() (hour, minute, second, nano int) {
	hour = p.digits(2)
	colons := p.next(':')
	if !colons && !p.atDigit() {
		return hour, 0, 0, 0
	}
	minute = p.digits(2)
	if colons && !p.next(':') || !colons && !p.atDigit() {
		return hour, minute, 0, 0
	}
	second = p.digits(2)
	if p.next('.') || p.next(',') {
		p.ok = p.ok && p.atDigit()
		unit := 100_000_000
		for ; p.atDigit(); unit /= 10 {
			d := p.digits(1)
			if unit >= 1000 {
				nano += d * unit
			}
		}
	}
	return hour, minute, second, nano
}

func (p *isoParser) atDigit() bool { return p.s != "" && p.s[0] >= '0' && p.s[0] <= '9' }

// zone returns nil if there is no offset.
func (p *isoParser) zone() *time.Location {
	sign := 1
	switch {
	case p.s == "":
		return nil
	case p.next('Z'), p.next('z'):
		return time.UTC
	case p.next('-'):
		sign = -1
	case !p.next('+'):
		p.ok = false
		return nil
	}
	hours, minutes := p.digits(2), 0
	if p.next(':') || p.atDigit() {
		minutes = p.digits(2)
	}
	p.ok = p.ok && hours <= 23 && minutes <= 59
	if hours == 0 && minutes == 0 {
		return time.UTC
	}
	return time.FixedZone("", sign*(hours*3600+minutes*60))
}
