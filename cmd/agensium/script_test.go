package main

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/agensium/agensium/celery/celerytest"
)

// TestScript runs testdata/script: the command line as a user sees it. $REDIS is the address of a Redis, $CLUSTER of one in cluster mode that evicts,
// $FREE_PORT a port where nobody listens, $VIRTUAL_ENV has Celery.
func TestScript(t *testing.T) {
	server := celerytest.StartRedis(t, "--appendonly", "yes")
	cluster := celerytest.StartRedis(t, "--cluster-enabled", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	python := celerytest.Venv(t, "celery-latest")
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REDIS", server.Addr())
			e.Setenv("CLUSTER", cluster.Addr())
			e.Setenv("FREE_PORT", strconv.Itoa(celerytest.FreePort(t)))
			e.Setenv("VIRTUAL_ENV", filepath.Dir(filepath.Dir(python)))
			return nil
		},
	})
}
