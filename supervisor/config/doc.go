// Package config owns agensium's settings: what they are, where each value came from, what is wrong with them, and what a
// change of one needs to take effect. agensium.toml at the top of the repository is their commented reference.
//
// [Load] reads the TOML file, the .env beside it, the environment and the command line, and reports all problems
// together. What the application says is known only once it was imported: [Loaded.Resolve] adds it. In rising order of
// precedence:
//
//	defaults, REDIS_URL, the application's settings, environment, TOML file, settings stored in Redis, command line
//
// Its callers are cmd/agensium and supervisor. It starts no goroutine, opens no connection, writes no file and never
// shows a password.
package config
