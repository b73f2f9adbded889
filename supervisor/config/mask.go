package config

import (
	"regexp"
	"strings"
)

var (
	userinfo  = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#:@]*):[^\s]*@`) // up to the last @: passwords hold anything
	secretArg = regexp.MustCompile(`(?i)([?&;](?:password|passwd|token|secret)=)[^&\s]*`)
)

const hidden = "***"

// Mask takes the passwords out of the URLs in a text.
func Mask(s string) string {
	return secretArg.ReplaceAllString(userinfo.ReplaceAllString(s, "${1}:"+hidden+"@"), "${1}"+hidden)
}

// maskAny is Mask for what should be a URL and may lack its scheme.
func maskAny(s string) string {
	if shown := Mask(s); shown != s {
		return shown
	}
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return hidden + s[at:]
	}
	return s
}
