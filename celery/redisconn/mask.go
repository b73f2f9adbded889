package redisconn

import (
	"regexp"
	"strings"
)

// masked stands for a password, as in kombu (kombu/utils/url.py).
const masked = "**"

var (
	// A URL ends at white space, at a quote, or where the next URL of a list begins.
	urlInText = regexp.MustCompile("(?i)[a-z][a-z0-9+.-]*://[^\\s\"'`<>]*")
	nextURL   = regexp.MustCompile(`(?i)[;,][a-z][a-z0-9+.-]*://`)
	secret    = regexp.MustCompile(`(?i)([?&][^=&\s]*(?:password|secret|token)[^=&\s]*=)[^&\s]*`)
)

// Mask replaces the passwords of all URLs in a text by `**`. A URL that is not well formed, say with a bare `/` or
// `@` in its password, rather loses too much than too little.
func Mask(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	return urlInText.ReplaceAllStringFunc(s, func(list string) string {
		var b strings.Builder
		for list != "" {
			one := list
			if at := nextURL.FindStringIndex(list); at != nil {
				one = list[:at[0]+1]
			}
			b.WriteString(maskURL(one))
			list = list[len(one):]
		}
		return b.String()
	})
}

func maskURL(u string) string {
	scheme, rest, _ := strings.Cut(u, "://")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if user, _, found := strings.Cut(rest[:at], ":"); found {
			rest = user + ":" + masked + rest[at:]
		}
	}
	return scheme + "://" + secret.ReplaceAllString(rest, "${1}"+masked)
}
