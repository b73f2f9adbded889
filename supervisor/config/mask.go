package config

import "regexp"

var (
	userinfo  = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#:@]*):[^\s]*@`) // up to the last @: passwords hold anything
	secretArg = regexp.MustCompile(`(?i)([?&;](?:password|passwd|token|secret)=)[^&\s]*`)
)

const hidden = "***"

// Mask takes the passwords out of the URLs in a text.
func Mask(s string) string {
	return secretArg.ReplaceAllString(userinfo.ReplaceAllString(s, "${1}:"+hidden+"@"), "${1}"+hidden)
}
