package control

import (
	"math"
	"strconv"
	"strings"
)

// ParseRate reads a rate limit as Celery spells it: "100/m", "2/h", "0.5/s", "10" (a second). Empty, null, false and 0 mean
// none, which is 0. The error is what Celery answers (celery/utils/time.py rate).
func ParseRate(s string) (perSecond float64, err error) {
	switch s {
	case "", "null", "None", "false":
		return 0, nil
	}
	number, unit, _ := strings.Cut(s, "/")
	seconds, known := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[unit]
	if !known {
		return 0, exception{"KeyError", unit}
	}
	n, parseErr := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if parseErr != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		cause := exception{"ValueError", "could not convert string to float: " + quote(number)}
		return 0, Refused("Invalid rate limit string: " + cause.Error())
	}
	return n / seconds, nil
}
