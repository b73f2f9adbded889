package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// TestASentinelFailover kills the master while tasks run and wait: they are known to the replica that the sentinel promotes, and each runs once.
func TestASentinelFailover(t *testing.T) {
	t.Parallel()
	const waiting = 20
	s := newSite(t, "celery-latest") // its own Redis has the traces
	master := celerytest.StartRedis(t, "--repl-diskless-sync-delay", "0")
	replica := celerytest.StartRedis(t, "--replicaof", "127.0.0.1", strconv.Itoa(master.Port))
	sentinel := celerytest.StartSentinel(t, master, "mymaster",
		"sentinel down-after-milliseconds mymaster 600000", "sentinel failover-timeout mymaster 3000")
	celerytest.Eventually(t, "the sentinel to know the replica", func() bool {
		known, err := sentinel.Client(0).Do(t.Context(), "SENTINEL", "REPLICAS", "mymaster").Slice()
		return err == nil && len(known) == 1
	})
	url, named := "sentinel://"+sentinel.Addr(), map[string]any{"master_name": "mymaster"}
	s.conf(map[string]any{
		"broker_url": url + "/0", "result_backend": url + "/1", "broker_transport_options": named, "result_backend_transport_options": named,
	})
	file := filepath.Join(t.TempDir(), "go")
	s.set("TEST_FILE=" + file)
	node := s.node("-c", "2")
	ids := strings.Fields(s.script(fmt.Sprintf("import proj; print(*[proj.wait_for_file.delay('running').id for i in range(2)])\nprint(*[proj.counted.delay(i).id for i in range(%d)])", waiting)))
	s.noted("running", 2)
	old := master.Client(0).Conn()
	defer old.Close()
	if err := old.Set(t.Context(), "agensium-test", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := old.Do(t.Context(), "WAIT", 1, celerytest.Backstop.Milliseconds()).Int(); err != nil || n != 1 {
		t.Fatalf("the replica has not what came before: %d, %v", n, err)
	}

	master.Kill()
	// From now on, and not before: a master that only stood still for so long would be replaced as well.
	if err := sentinel.Client(0).Do(t.Context(), "SENTINEL", "SET", "mymaster", "down-after-milliseconds", "500").Err(); err != nil {
		t.Fatal(err)
	}
	s.printed(node, "broker is not usable")
	if err := os.WriteFile(file, nil, 0o600); err != nil { // both end while there is no master
		t.Fatal(err)
	}
	s.noted("counted", waiting)
	promoted := *s
	promoted.redis = replica
	for _, id := range ids {
		celerytest.Eventually(t, "the result of "+id, func() bool { return promoted.state(id) == "SUCCESS" })
	}
	cleanEnd(t, node)
	if strings.Contains(node.Output(), "reason=other") {
		t.Error("a promoted replica is taken for an error of an unknown kind")
	}
	if running, counted := len(s.notes("running")), len(s.notes("counted")); running != 2 || counted != waiting {
		t.Errorf("of 2 running and %d waiting tasks %d and %d ran", waiting, running, counted)
	}
	if left := promoted.left(); len(left) > 1 { // what we set
		t.Errorf("left in the broker: %q", left)
	}
}
