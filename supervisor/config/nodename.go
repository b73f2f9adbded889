package config

import "strings"

// NodeName expands the pattern of a node's name as Celery does (celery/utils/nodenames.py): %h the host's name, %n its first part,
// %d the rest, %% a percent sign. What has no @ is a host: "w1" is celery@w1.
func NodeName(pattern, host string) string {
	first, domain, _ := strings.Cut(host, ".")
	name, at, found := strings.Cut(pattern, "@")
	if !found {
		name, at = "", pattern
	}
	if name == "" {
		name = "celery"
	}
	if at == "" {
		at = host
	}
	return strings.NewReplacer("%%", "%", "%h", host, "%n", first, "%d", domain, "%i", "0", "%I", "").Replace(name + "@" + at)
}

// LogFile expands the pattern of the log file's name for a node as Celery does: %n the part of the node's name before the @, %h what is
// behind it, %d the domain of that, %p the whole. There is one file, so that %i is 0 and %I nothing.
func LogFile(pattern, node string) string {
	name, host, _ := strings.Cut(node, "@")
	_, domain, _ := strings.Cut(host, ".")
	return strings.NewReplacer("%%", "%", "%h", host, "%n", name, "%d", domain, "%p", node, "%i", "0", "%I", "").Replace(pattern)
}
