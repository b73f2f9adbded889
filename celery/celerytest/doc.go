// Package celerytest is what tests of all packages stand on: real Redis servers that can be stopped, paused and
// killed ([StartRedis]), a proxy that cuts connections at a chosen command ([StartProxy]), a record of the commands
// that a server got ([Redis.Monitor]), real Celery in its virtual environments ([Venv]), and messages recorded from real
// Celery ([Fixtures]).
//
// What a test needs and the machine does not have makes it skip, or fail where AGENSIUM_REQUIRE names it (a list
// such as "redis,celery"). Only tests import this package.
package celerytest
